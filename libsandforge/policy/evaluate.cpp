// SPDX-License-Identifier: Apache-2.0
#include "policy/evaluate.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/printable.hpp"
#include "policy/words.hpp"

namespace sandforge::policy {
namespace {

std::string listed(const Words& words) {
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : ", ") + word;
  return all;
}

Verdict allowed(std::string rule, std::string reason) {
  Verdict verdict;
  verdict.rule = std::move(rule);
  verdict.reason = std::move(reason);
  return verdict;
}

Verdict refused(std::string rule, std::string reason, std::string remedy) {
  Verdict verdict = allowed(std::move(rule), std::move(reason));
  verdict.allowed = false;
  verdict.remedy = std::move(remedy);
  return verdict;
}

Verdict at_most(const char* rule, std::int64_t value, const Setting<std::int64_t>& most) {
  const std::string where = at_line(most.line);
  if (value <= most.value) return allowed(rule, fmt::format("{} is within {}{}", value, most.value, where));
  return refused(rule, fmt::format("{} is more than {}, the most that the policy allows{}", value, most.value, where),
                 fmt::format("ask for {} or less, or raise {} in the policy file", most.value, rule));
}

Verdict judge_network(const Policy& policy, const std::string& mode) {
  const auto& modes = policy.network_modes;
  const bool found = std::find(modes.value.begin(), modes.value.end(), mode) != modes.value.end();
  const std::string reason =
      fmt::format("\"{}\" is {}among {}{}", mode, found ? "" : "not ", listed(modes.value), at_line(modes.line));
  if (found) return allowed("network.modes", reason);
  return refused(
      "network.modes", reason,
      fmt::format("use one of {}, or add \"{}\" to network.modes in the policy file", listed(modes.value), mode));
}

Verdict judge_backend_name(const Policy& policy, std::string_view name) {
  const auto& backends = policy.backends;
  if (!backends.value) return allowed("backends.allow", "any backend is allowed");
  if (name.empty()) {
    return allowed("backends.allow",
                   fmt::format("the choice is among {}{}", listed(*backends.value), at_line(backends.line)));
  }
  const bool found = allows_backend(policy, name);
  const std::string reason = fmt::format("\"{}\" is {}among {}{}", base::printable(name), found ? "" : "not ",
                                         listed(*backends.value), at_line(backends.line));
  if (found) return allowed("backends.allow", reason);
  return refused("backends.allow", reason,
                 "use backend \"auto\", which keeps to those, or add it to backends.allow in the policy file");
}

// A command as a list has it: its program, and perhaps its first arguments. A program without a slash stands for every
// path that ends in it.
bool matches(std::string_view pattern, std::span<const std::string> argv) {
  for (std::size_t i = 0; !pattern.empty(); ++i) {
    if (i >= argv.size()) return false;
    const std::size_t end = std::min(pattern.find(' '), pattern.size());
    const std::string_view word = pattern.substr(0, end);
    pattern.remove_prefix(std::min(end + 1, pattern.size()));
    std::string_view given = argv[i];
    if (i == 0 && word.find('/') == std::string_view::npos) given.remove_prefix(given.rfind('/') + 1);
    if (given != word) return false;
  }
  return true;
}

const std::string* find_match(const Words& patterns, std::span<const std::string> argv) {
  const auto found =
      std::find_if(patterns.begin(), patterns.end(), [&](const auto& each) { return matches(each, argv); });
  return found == patterns.end() ? nullptr : &*found;
}

Verdict same_directory(std::size_t first, const std::string& path) {
  Verdict verdict = refused("mounts.distinct",
                            fmt::format("it is the directory of mounts[{}] too, \"{}\"", first, base::printable(path)),
                            "mount a directory once");
  verdict.code = base::Code::InvalidArgument;
  verdict.word = "duplicate_mount";
  return verdict;
}

void judge_mounts(const Policy& policy, const SpecFacts& facts, Judgement& judgement) {
  judgement.parts.push_back({"mounts", evaluate_mount_count(policy, facts.mounts.size())});
  if (!judgement.parts.back().verdict.allowed) return;  // not even looked at
  for (std::size_t i = 0; i < facts.mounts.size(); ++i) {
    MountVerdict mount = evaluate_mount(policy, facts.mounts[i].host_path, facts.mounts[i].read_only);
    if (mount.verdict.allowed) {
      const auto twin = std::find_if(judgement.mounts.begin(), judgement.mounts.end(), [&](const auto& other) {
        return other.device == mount.directory.device && other.inode == mount.directory.inode;
      });
      if (twin != judgement.mounts.end()) {
        mount.verdict = same_directory(static_cast<std::size_t>(twin - judgement.mounts.begin()), mount.directory.path);
      }
    }
    judgement.mounts.push_back(std::move(mount.directory));
    judgement.parts.push_back({fmt::format("mounts[{}].host_path", i), std::move(mount.verdict)});
  }
}

}  // namespace

base::Error to_error(const Verdict& verdict, std::string_view what) {
  base::Error error =
      base::make_error(verdict.code, verdict.word, fmt::format("{}: {}", what, verdict.reason), verdict.remedy);
  error.rule = verdict.rule;
  error.os_errno = verdict.os_errno;
  return error;
}

const Part* Judgement::first_refused() const noexcept {
  const auto found = std::find_if(parts.begin(), parts.end(), [](const Part& part) { return !part.verdict.allowed; });
  return found == parts.end() ? nullptr : &*found;
}

base::Status Judgement::status() const {
  const Part* part = first_refused();
  if (part == nullptr) return {};
  return to_error(part->verdict, "spec: " + part->name);
}

Judgement evaluate(const Policy& policy, const SpecFacts& facts) {
  Judgement judgement;
  auto& parts = judgement.parts;
  parts.push_back({"backend", judge_backend_name(policy, facts.backend)});
  parts.push_back({"cpu", at_most("limits.cpu", facts.cpu, policy.cpu)});
  parts.push_back({"memory_mb", at_most("limits.memory_mb", facts.memory_mb, policy.memory_mb)});
  parts.push_back({"disk_gb", at_most("limits.disk_gb", facts.disk_gb, policy.disk_gb)});
  parts.push_back({"timeout_sec", at_most("limits.timeout_sec", facts.timeout_sec, policy.timeout_sec)});
  parts.push_back({"network_mode", judge_network(policy, facts.network_mode)});
  judge_mounts(policy, facts, judgement);
  return judgement;
}

Verdict evaluate_count(const Policy& policy, std::size_t living) {
  Verdict verdict = at_most("limits.sandboxes", static_cast<std::int64_t>(living) + 1, policy.sandboxes);
  if (!verdict.allowed) {
    verdict.reason = fmt::format("there are {} sandboxes, and the policy allows {}{}", living, policy.sandboxes.value,
                                 at_line(policy.sandboxes.line));
    verdict.remedy = "destroy a sandbox that is not needed, or raise limits.sandboxes in the policy file";
  }
  return verdict;
}

Verdict evaluate_mount_count(const Policy& policy, std::size_t mounts) {
  return at_most("mounts.max", static_cast<std::int64_t>(mounts), policy.mounts_max);
}

bool allows_backend(const Policy& policy, std::string_view name) {
  const auto& names = policy.backends.value;
  return !names || std::find(names->begin(), names->end(), name) != names->end();
}

Verdict evaluate_backend(const Policy& policy, std::string_view name, std::uint32_t isolation) {
  if (Verdict verdict = judge_backend_name(policy, name); !verdict.allowed) return verdict;
  const auto text = [](std::uint32_t level) {
    return level < kIsolations.size() ? kIsolations[level] : std::string_view("unknown");
  };
  const auto& least = policy.min_isolation;
  const std::string reason = fmt::format("\"{}\" gives isolation {}, and the policy demands {}{}", name,
                                         text(isolation), text(least.value), at_line(least.line));
  if (isolation >= least.value) return allowed("backends.min_isolation", reason);
  return refused("backends.min_isolation", reason,
                 "use backend \"auto\", or lower backends.min_isolation in the policy file");
}

Verdict evaluate_command(const Policy& policy, std::span<const std::string> argv) {
  const auto& allow = policy.commands_allow;
  const auto& block = policy.commands_block;
  const std::string program = argv.empty() ? std::string() : base::printable(argv[0]);
  if (const std::string* found = find_match(block.value, argv)) {
    return refused("commands.block", fmt::format("\"{}\" is blocked{}", *found, at_line(block.line)),
                   "run another command, or take it out of commands.block in the policy file");
  }
  if (!allow.value) return allowed("commands.allow", "any command is allowed");
  if (const std::string* found = find_match(*allow.value, argv)) {
    return allowed("commands.allow", fmt::format("\"{}\" is allowed{}", *found, at_line(allow.line)));
  }
  return refused(
      "commands.allow",
      fmt::format("\"{}\" with its arguments is not among the allowed commands{}", program, at_line(allow.line)),
      "run one of the commands that the policy allows, or add it to commands.allow in the policy file");
}

}  // namespace sandforge::policy
