// SPDX-License-Identifier: Apache-2.0
// The policy file: doc/policy.md is its manual.
#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "base/limits.hpp"
#include "base/nearest_word.hpp"
#include "base/printable.hpp"
#include "base/toml_reader.hpp"
#include "policy/host_path.hpp"
#include "policy/policy.hpp"
#include "policy/words.hpp"

namespace sandforge::policy {
namespace {

using base::Status;
using base::TomlTable;

constexpr const char* kRemedy =
    "correct the policy file; `sandforged policy check FILE` tries it, and doc/policy.md describes every key";

// The number `key`, if it is there, within [low, high].
Status read(const TomlTable& table, std::string_view key, std::int64_t low, std::int64_t high,
            Setting<std::int64_t>& setting) {
  SANDFORGE_TRY(const auto value, table.integer(key));
  if (!value) return {};
  if (*value < low || *value > high) {
    return table.error_at(key, fmt::format("is {}, but must be {} to {}", *value, low, high));
  }
  setting = {*value, table.line_of(key)};
  return {};
}

// Every element of the list `key` must pass `check`, which answers what is wrong with it, or "".
template <typename Check>
base::Result<Words> read_list(const TomlTable& table, std::string_view key, Check check) {
  SANDFORGE_TRY(Words values, table.strings(key));
  if (values.size() > limits::kPolicyListMax) {
    return table.error_at(
        key, fmt::format("has {} entries, but at most {} are allowed", values.size(), limits::kPolicyListMax));
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (const std::string wrong = check(values[i]); !wrong.empty()) return table.error_in(key, i, wrong);
  }
  return values;
}

std::string wrong_word(std::string_view word, std::span<const std::string_view> known) {
  if (std::find(known.begin(), known.end(), word) != known.end()) return {};
  std::string all;
  for (const std::string_view name : known) all += fmt::format("{}{}", all.empty() ? "" : ", ", name);
  const std::string_view nearest = base::nearest_word(word, known);
  return fmt::format("holds \"{}\"{}; known are {}", base::printable(word),
                     nearest.empty() ? "" : fmt::format(", did you mean \"{}\"?", nearest), all);
}

// A directory of a list. Never read as something else than it says: a relative path or ".." would be.
std::string wrong_directory(std::string& path) {
  if (path.starts_with("~")) {
    return fmt::format("holds \"{}\"; write the whole path, \"~\" is not replaced", base::printable(path));
  }
  if (const auto status = check_host_path(path); !status) {
    return fmt::format("holds \"{}\": {}", base::printable(path), status.error().message);
  }
  path = cleaned(path);
  return {};
}

Status read_directories(const TomlTable& table, std::string_view key, Setting<Words>& setting) {
  if (!table.has(key)) return {};
  SANDFORGE_TRY(Words values, read_list(table, key, wrong_directory));
  setting = {std::move(values), table.line_of(key)};
  return {};
}

std::string wrong_command(const std::string& command) {
  const bool printable = std::all_of(command.begin(), command.end(), [](char c) { return c >= ' ' && c <= '~'; });
  if (!printable || command.empty() || command.front() == ' ' || command.back() == ' ' || command.size() > 1024 ||
      command.find("  ") != std::string::npos) {
    return fmt::format("holds \"{}\", but must be a program and, after single spaces, its first arguments",
                       base::printable(command));
  }
  return {};
}

Status read_limits(const TomlTable& table, Policy& policy) {
  SANDFORGE_TRY_STATUS(table.only({"cpu", "memory_mb", "disk_gb", "timeout_sec", "sandboxes"}));
  SANDFORGE_TRY_STATUS(read(table, "cpu", 1, limits::kCpuMax, policy.cpu));
  SANDFORGE_TRY_STATUS(read(table, "memory_mb", limits::kMemoryMbMin, limits::kMemoryMbMax, policy.memory_mb));
  SANDFORGE_TRY_STATUS(read(table, "disk_gb", 1, limits::kDiskGbMax, policy.disk_gb));
  SANDFORGE_TRY_STATUS(read(table, "timeout_sec", 1, limits::kTimeoutSecMax, policy.timeout_sec));
  return read(table, "sandboxes", 0, limits::kSandboxesMax, policy.sandboxes);
}

Status read_network(const TomlTable& table, Policy& policy) {
  SANDFORGE_TRY_STATUS(table.only({"modes"}));
  if (!table.has("modes")) return {};
  SANDFORGE_TRY(Words modes,
                read_list(table, "modes", [](const auto& word) { return wrong_word(word, kNetworkModes); }));
  if (modes.empty()) return table.error_at("modes", "is empty: no sandbox could be made; say [\"offline\"]");
  policy.network_modes = {std::move(modes), table.line_of("modes")};
  return {};
}

Status read_backends(const TomlTable& table, Policy& policy) {
  SANDFORGE_TRY_STATUS(table.only({"allow", "min_isolation"}));
  if (table.has("allow")) {
    SANDFORGE_TRY(Words names, read_list(table, "allow", [](const auto& word) { return wrong_word(word, kBackends); }));
    if (names.empty()) return table.error_at("allow", "is empty: no sandbox could be made; leave it out for any");
    policy.backends = {std::move(names), table.line_of("allow")};
  }
  if (table.has("min_isolation")) {
    SANDFORGE_TRY(const std::string name, table.required_string("min_isolation"));
    if (const std::string wrong = wrong_word(name, kIsolations); !wrong.empty()) {
      return table.error_at("min_isolation", wrong);
    }
    const auto level = std::find(kIsolations.begin(), kIsolations.end(), name) - kIsolations.begin();
    policy.min_isolation = {static_cast<std::uint32_t>(level), table.line_of("min_isolation")};
  }
  return {};
}

Status read_mounts(const TomlTable& table, Policy& policy) {
  SANDFORGE_TRY_STATUS(
      table.only({"max", "own_directories", "allow", "allow_read_only", "allow_credentials", "block"}));
  SANDFORGE_TRY_STATUS(read(table, "max", 0, static_cast<std::int64_t>(limits::kMountsMax), policy.mounts_max));
  SANDFORGE_TRY(const auto own, table.boolean("own_directories"));
  if (own) policy.own_directories = {*own, table.line_of("own_directories")};
  SANDFORGE_TRY_STATUS(read_directories(table, "allow", policy.allow));
  SANDFORGE_TRY_STATUS(read_directories(table, "allow_read_only", policy.allow_read_only));
  SANDFORGE_TRY_STATUS(read_directories(table, "allow_credentials", policy.allow_credentials));
  return read_directories(table, "block", policy.block);
}

Status read_commands(const TomlTable& table, Policy& policy) {
  SANDFORGE_TRY_STATUS(table.only({"allow", "block"}));
  if (table.has("allow")) {
    SANDFORGE_TRY(Words commands, read_list(table, "allow", wrong_command));
    policy.commands_allow = {std::move(commands), table.line_of("allow")};
  }
  if (table.has("block")) {
    SANDFORGE_TRY(Words commands, read_list(table, "block", wrong_command));
    policy.commands_block = {std::move(commands), table.line_of("block")};
  }
  return {};
}

base::Result<Policy> read_policy(const TomlTable& top, Policy policy) {
  SANDFORGE_TRY_STATUS(top.only({"version", "limits", "network", "backends", "mounts", "commands"}));
  SANDFORGE_TRY(const auto version, top.integer("version"));
  if (version && *version != 1) return top.error_at("version", "must be 1, the only version there is");
  using Reader = Status (*)(const TomlTable&, Policy&);
  constexpr std::pair<const char*, Reader> kTables[] = {{"limits", read_limits},
                                                        {"network", read_network},
                                                        {"backends", read_backends},
                                                        {"mounts", read_mounts},
                                                        {"commands", read_commands}};
  for (const auto& [name, reader] : kTables) {
    SANDFORGE_TRY(const auto table, top.table(name));
    if (table) SANDFORGE_TRY_STATUS(reader(*table, policy));
  }
  return policy;
}

base::Result<Policy> parse_text(std::string_view text, const std::string& filename, Policy over) {
  if (text.size() > limits::kPolicyBytesMax) {
    return base::make_error(
        base::Code::InvalidArgument, {},
        fmt::format("{}: a policy has at most {} KiB", filename, limits::kPolicyBytesMax / limits::kKiB));
  }
  SANDFORGE_TRY(const base::TomlDocument document, base::TomlDocument::parse(text, filename));
  SANDFORGE_TRY(Policy policy, read_policy(document.top(), std::move(over)));
  policy.file = filename;
  return policy;
}

}  // namespace

base::Result<Policy> parse(std::string_view text, std::string filename, Policy over) {
  auto policy = parse_text(text, filename, std::move(over));
  if (!policy) {
    policy.error().reason = "invalid_policy";
    policy.error().remedy = kRemedy;
  }
  return policy;
}

}  // namespace sandforge::policy
