// SPDX-License-Identifier: Apache-2.0
#include "policy/policy.hpp"

#include <fmt/format.h>

#include "base/limits.hpp"
#include "policy/words.hpp"

namespace sandforge::policy {
namespace {

std::string in_quotes(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string as_toml(std::int64_t value) { return std::to_string(value); }
std::string as_toml(bool value) { return value ? "true" : "false"; }
std::string as_toml(const Words& values) {
  std::string out;
  for (const std::string& value : values) out += (out.empty() ? "" : ", ") + in_quotes(value);
  return "[" + out + "]";
}

const char* described(Audience audience) noexcept {
  switch (audience) {
    case Audience::Library: return "built in, for a program that links the library";
    case Audience::Loopback: return "built in, for a daemon on loopback";
    case Audience::Remote: return "built in, for a daemon reachable from elsewhere";
  }
  return "built in";
}

class Description {
 public:
  explicit Description(const Policy& policy) : policy_(policy) {}

  template <typename T>
  void add(const char* key, const Setting<T>& setting) {
    add(key, as_toml(setting.value), setting.line);
  }
  // `any` is shown where no list was given.
  void add(const char* key, const Setting<std::optional<Words>>& setting, const char* any) {
    add(key, setting.value ? as_toml(*setting.value) : any, setting.line);
  }
  void add(const char* key, std::string value, std::uint32_t line) {
    all_.push_back({key, std::move(value),
                    line == 0 ? described(policy_.audience) : fmt::format("{}, line {}", policy_.file, line)});
  }
  std::vector<SettingText> take() { return std::move(all_); }

 private:
  const Policy& policy_;
  std::vector<SettingText> all_;
};

}  // namespace

const char* audience_name(Audience audience) noexcept {
  switch (audience) {
    case Audience::Library: return "library";
    case Audience::Loopback: return "loopback";
    case Audience::Remote: return "remote";
  }
  return "unknown";
}

Policy defaults(Audience audience) {
  Policy policy;
  policy.audience = audience;
  policy.cpu.value = limits::kCpuMax;
  policy.memory_mb.value = limits::kMemoryMbMax;
  policy.disk_gb.value = limits::kDiskGbMax;
  policy.timeout_sec.value = limits::kTimeoutSecMax;
  policy.sandboxes.value = limits::kSandboxesMax;
  policy.mounts_max.value = static_cast<std::int64_t>(limits::kMountsMax);
  policy.network_modes.value = {"offline", "fetch"};
  // A whole network and the user's files are not for whoever happens to reach the daemon.
  if (audience != Audience::Remote) policy.network_modes.value.emplace_back("full");
  policy.own_directories.value = audience != Audience::Remote;
  return policy;
}

std::vector<SettingText> describe(const Policy& policy) {
  Description out(policy);
  out.add("limits.cpu", policy.cpu);
  out.add("limits.memory_mb", policy.memory_mb);
  out.add("limits.disk_gb", policy.disk_gb);
  out.add("limits.timeout_sec", policy.timeout_sec);
  out.add("limits.sandboxes", policy.sandboxes);
  out.add("network.modes", policy.network_modes);
  out.add("backends.allow", policy.backends, "any");
  out.add("backends.min_isolation", in_quotes(kIsolations[policy.min_isolation.value]), policy.min_isolation.line);
  out.add("mounts.max", policy.mounts_max);
  out.add("mounts.own_directories", policy.own_directories);
  out.add("mounts.allow", policy.allow);
  out.add("mounts.allow_read_only", policy.allow_read_only);
  out.add("mounts.allow_credentials", policy.allow_credentials);
  out.add("mounts.block", policy.block);
  out.add("commands.allow", policy.commands_allow, "any");
  out.add("commands.block", policy.commands_block);
  return out.take();
}

std::string at_line(std::uint32_t line) { return line == 0 ? "" : fmt::format(" (line {} of the policy)", line); }

}  // namespace sandforge::policy
