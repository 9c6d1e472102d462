// SPDX-License-Identifier: Apache-2.0
#include "engine/spec.hpp"

#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>

#include "base/limits.hpp"
#include "engine/mount_paths.hpp"
#include "image/store.hpp"

namespace sandforge::engine {
namespace {

using base::Code;
using base::Error;
using base::Status;

bool is_alphanumeric(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

Error invalid_spec(std::string message) {
  return base::make_error(Code::InvalidArgument, "invalid_spec", std::move(message));
}
Error invalid_exec(std::string message) {
  return base::make_error(Code::InvalidArgument, "invalid_exec", std::move(message));
}

// 0 becomes the default; anything else must be in [low, high].
Status settle(const char* field, std::int64_t& value, std::int64_t fallback, std::int64_t low, std::int64_t high) {
  if (value == 0) value = fallback;
  if (value >= low && value <= high) return {};
  return invalid_spec(
      fmt::format("spec: {} is {}, but must be {} to {} (0 means the default, {})", field, value, low, high, fallback));
}

Status settle_network(SandboxSpec& spec) {
  if (spec.network_mode.empty()) spec.network_mode = "offline";
  if (spec.network_mode == "offline" || spec.network_mode == "fetch" || spec.network_mode == "full") return {};
  return invalid_spec(fmt::format("spec: network_mode is \"{}\", but must be \"offline\", \"fetch\" or \"full\"",
                                  printable(spec.network_mode)));
}

Status settle_isolation(SandboxSpec& spec) {
  if (spec.task_isolation.empty()) spec.task_isolation = "container";
  if (spec.task_isolation == "container" || spec.task_isolation == "process") return {};
  return invalid_spec(fmt::format("spec: task_isolation is \"{}\", but must be \"container\" or \"process\"",
                                  printable(spec.task_isolation)));
}

Status check_strings(const char* what, const std::vector<std::string>& values, std::size_t& total) {
  if (values.size() > limits::kArgsMax) {
    return invalid_exec(
        fmt::format("exec: {} entries of {}, but at most {} are allowed", values.size(), what, limits::kArgsMax));
  }
  for (const std::string& value : values) {
    if (value.find('\0') != std::string::npos) return invalid_exec(fmt::format("exec: {} holds a NUL byte", what));
    if (value.size() >= limits::kArgBytesMax) {
      return invalid_exec(fmt::format("exec: an entry of {} has {} bytes, but at most {} are allowed", what,
                                      value.size(), limits::kArgBytesMax - 1));
    }
    total += value.size() + sizeof(std::uint32_t);
  }
  return {};
}

Status check_environment(const std::vector<std::string>& env) {
  for (const std::string& entry : env) {
    const std::size_t equals = entry.find('=');
    if (equals == std::string::npos || equals == 0) {
      return invalid_exec(fmt::format("exec: environment entry \"{}\" is not KEY=VALUE", printable(entry)));
    }
  }
  return {};
}

}  // namespace

bool is_valid_id(std::string_view id) noexcept {
  if (id.empty() || id.size() > limits::kIdMax || !is_alphanumeric(id[0])) return false;
  return std::ranges::all_of(id, [](char c) { return is_alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
}

base::Result<SandboxSpec> resolve_spec(SandboxSpec spec) {
  if (spec.id.empty()) spec.id = make_id();
  if (!is_valid_id(spec.id)) {
    return invalid_spec(
        fmt::format("spec: id is \"{}\", but must be a letter or digit, then at most {} letters, "
                    "digits, '_', '.' or '-'",
                    printable(spec.id), limits::kIdMax - 1));
  }
  if (spec.backend == "auto") spec.backend.clear();
  if (spec.image.empty()) spec.image = "default";
  if (!image::is_valid_name(spec.image)) {
    return invalid_spec(fmt::format("spec: image is \"{}\", which is not a name of an image", printable(spec.image)));
  }
  SANDFORGE_TRY_STATUS(settle("cpu", spec.cpu, limits::kCpuDefault, 1, limits::kCpuMax));
  SANDFORGE_TRY_STATUS(
      settle("memory_mb", spec.memory_mb, limits::kMemoryMbDefault, limits::kMemoryMbMin, limits::kMemoryMbMax));
  SANDFORGE_TRY_STATUS(settle("disk_gb", spec.disk_gb, limits::kDiskGbDefault, 1, limits::kDiskGbMax));
  SANDFORGE_TRY_STATUS(settle("timeout_sec", spec.timeout_sec, limits::kTimeoutSecDefault, 1, limits::kTimeoutSecMax));
  SANDFORGE_TRY_STATUS(settle_network(spec));
  SANDFORGE_TRY_STATUS(settle_isolation(spec));
  SANDFORGE_TRY_STATUS(check_mounts(spec.mounts));
  return spec;
}

Status check_supported(const SandboxSpec& spec) {
  if (spec.network_mode != "offline") {
    return base::make_error(Code::Unsupported, "network_unsupported",
                            fmt::format("spec: network_mode \"{}\" is not available yet", spec.network_mode),
                            "use network_mode \"offline\"; \"fetch\" and \"full\" arrive in a later release");
  }
  return {};
}

wire::TaskIsolation task_isolation_of(const SandboxSpec& spec) noexcept {
  return spec.task_isolation == "process" ? wire::TaskIsolation::Process : wire::TaskIsolation::Container;
}

base::Result<ExecSpec> resolve_exec(ExecSpec spec) {
  if (spec.argv.empty() || spec.argv[0].empty()) {
    return invalid_exec("exec: the command is empty; argv needs a program name first");
  }
  std::size_t total = spec.cwd.size() + spec.user.size();
  SANDFORGE_TRY_STATUS(check_strings("argv", spec.argv, total));
  SANDFORGE_TRY_STATUS(check_strings("env", spec.env, total));
  SANDFORGE_TRY_STATUS(check_environment(spec.env));
  if (total > limits::kExecBytesMax) {
    return invalid_exec(fmt::format("exec: arguments and environment have {} bytes, but at most {} are allowed", total,
                                    limits::kExecBytesMax));
  }
  if (!spec.cwd.empty()) {
    if (auto status = check_guest_path(spec.cwd); !status) return std::move(status.error()).context("exec: cwd");
  }
  if (spec.user.size() > 64) return invalid_exec("exec: the name of the user has more than 64 bytes");
  if (spec.timeout_ms < 0 || spec.timeout_ms > limits::kExecTimeoutMsMax) {
    return invalid_exec(
        fmt::format("exec: timeout is {} ms, but must be 0 (none) to {}", spec.timeout_ms, limits::kExecTimeoutMsMax));
  }
  if (spec.output_cap == 0) spec.output_cap = limits::kOutputCapDefault;
  if (spec.output_cap > limits::kOutputCapMax) {
    return invalid_exec(
        fmt::format("exec: output_cap is {}, but must be at most {}", spec.output_cap, limits::kOutputCapMax));
  }
  if (spec.pids_max == 0) spec.pids_max = limits::kPidsDefault;
  if (spec.pids_max > limits::kPidsMax) {
    return invalid_exec(fmt::format("exec: pids_max is {}, but must be at most {}", spec.pids_max, limits::kPidsMax));
  }
  return spec;
}

Status check_guest_path(std::string_view path) {
  const auto invalid = [](std::string message) {
    return base::make_error(Code::InvalidArgument, "invalid_path", std::move(message));
  };
  if (path.empty()) return invalid("guest path is empty");
  if (path.find('\0') != std::string_view::npos) return invalid("guest path holds a NUL byte");
  if (path[0] != '/') return invalid(fmt::format("guest path \"{}\" is not absolute", printable(path)));
  if (path.size() >= limits::kPathMax) {
    return invalid(
        fmt::format("guest path has {} bytes, but at most {} are allowed", path.size(), limits::kPathMax - 1));
  }
  return {};
}

std::string random_bytes(std::size_t count) {
  std::string bytes(count, '\0');
  std::size_t done = 0;
  while (done < count) {
    const ssize_t got = ::getrandom(bytes.data() + done, count - done, 0);
    if (got > 0) done += static_cast<std::size_t>(got);
    // EINTR is the only failure that a valid call can meet.
  }
  return bytes;
}

std::string random_hex(std::size_t digits) {
  std::string hex;
  for (const char byte : random_bytes((digits + 1) / 2)) hex += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  hex.resize(digits);
  return hex;
}

std::string make_id() { return "sbx-" + random_hex(16); }

std::string hostname_of(std::string_view id) {
  std::string name;
  for (const char c : id.substr(0, 63)) {
    if (c >= 'A' && c <= 'Z')
      name += static_cast<char>(c - 'A' + 'a');
    else
      name += is_alphanumeric(c) ? c : '-';
  }
  while (!name.empty() && name.back() == '-') name.pop_back();
  return name;
}

}  // namespace sandforge::engine
