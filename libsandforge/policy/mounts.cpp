// SPDX-License-Identifier: Apache-2.0
// May this directory of the host be mounted? In this order:
//   form of the path -> [others can ask: is it below a listed directory at all?] -> where it leads
//   -> blocked, in either direction -> listed as allowed -> the user's own
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/printable.hpp"
#include "policy/builtin_paths.hpp"
#include "policy/evaluate.hpp"

namespace sandforge::policy {
namespace {

constexpr const char* kAddToAllow = "mount another directory, or list this one in mounts.allow of the policy file";

// Entries of a list, as given and where they lead now.
Words both_forms(const Words& given) {
  Words all;
  for (const std::string& path : given) {
    all.push_back(path);
    if (std::string real = resolved_or_same(path); real != path) all.push_back(std::move(real));
  }
  return all;
}

// The length of the longest entry that contains `path`; 0: none does. The longest entry is the one that counts.
std::size_t nearest(const Words& folders, std::string_view path) {
  std::size_t longest = 0;
  for (const std::string& folder : folders) {
    if (is_within(path, folder)) longest = std::max(longest, folder.size());
  }
  return longest;
}

class MountJudge {
 public:
  MountJudge(const Policy& policy, const std::string& asked, bool read_only)
      : policy_(policy),
        asked_(asked),
        read_only_(read_only),
        allow_(both_forms(policy.allow.value)),
        allow_read_only_(both_forms(policy.allow_read_only.value)),
        allow_credentials_(both_forms(policy.allow_credentials.value)) {}

  MountVerdict judge() {
    if (auto status = check_host_path(asked_); !status) return bad_input(status.error());
    if (!policy_.own_directories.value && !is_listed(cleaned(asked_))) return refuse_unlisted(cleaned(asked_));
    auto found = resolve_directory(asked_);
    if (!found) return bad_input(found.error());
    directory_ = std::move(found).value();
    MountVerdict result;
    if (!judge_blocked() && !judge_listed()) judge_own();
    result.verdict = std::move(verdict_);
    if (result.verdict.allowed) result.directory = std::move(directory_);
    return result;
  }

 private:
  const std::string& path() const noexcept { return directory_.path; }

  // The path for messages, and how it was asked for when that is another.
  std::string shown() const {
    std::string text = fmt::format("\"{}\"", base::printable(path()));
    if (cleaned(asked_) != path()) text += fmt::format(", where \"{}\" leads,", base::printable(asked_));
    return text;
  }

  static MountVerdict bad_input(const base::Error& error) {
    MountVerdict result;
    Verdict& verdict = result.verdict;
    verdict.allowed = false;
    verdict.rule = "mounts.host_path";
    verdict.reason = error.message;
    verdict.remedy = error.remedy;
    verdict.code = error.code;
    verdict.word = error.reason;
    verdict.os_errno = error.os_errno;
    return result;
  }

  bool is_listed(std::string_view path) const {
    return nearest(allow_, path) + nearest(allow_read_only_, path) + nearest(allow_credentials_, path) > 0;
  }

  // Not looked at: whoever asks from elsewhere must not learn what exists on this host.
  MountVerdict refuse_unlisted(const std::string& path) const {
    MountVerdict result;
    result.verdict.allowed = false;
    result.verdict.rule = "mounts.allow";
    result.verdict.reason = fmt::format("\"{}\" is in no directory that the policy lists{}", base::printable(path),
                                        at_line(policy_.allow.line));
    result.verdict.remedy = "list the directory in mounts.allow of the policy file; nothing else can be mounted here";
    return result;
  }

  void decide(bool allowed, const char* rule, std::string reason, std::string remedy = {}) {
    verdict_.allowed = allowed;
    verdict_.rule = rule;
    verdict_.reason = std::move(reason);
    verdict_.remedy = std::move(remedy);
  }

  bool judge_blocked() {
    Words more_homes;
    if (std::string home = home_by_place(path()); !home.empty()) more_homes.push_back(std::move(home));
    const std::vector<Blocked> all = blocked_paths(policy_, more_homes);
    const bool credentials_lifted = nearest(allow_credentials_, path()) > 0;
    // What the path is or lies in tells more than what it contains: that comes second.
    for (const bool inside : {true, false}) {
      for (const Blocked& blocked : all) {
        const bool is_inside = blocked.with_contents ? is_within(path(), blocked.path) : path() == blocked.path;
        const bool holds = inside ? is_inside : !is_inside && is_within(blocked.path, path());
        if (!holds || is_lifted(blocked, inside, credentials_lifted)) continue;
        refuse_blocked(blocked, inside);
        return true;
      }
    }
    if (credentials_lifted) return false;
    if (const std::string place = credential_component(path()); !place.empty()) {
      refuse_blocked({place, Kind::Credentials, true}, true);
      return true;
    }
    return judge_private(more_homes);
  }

  bool is_lifted(const Blocked& blocked, bool inside, bool credentials_lifted) const {
    switch (blocked.kind) {
      case Kind::Credentials: return credentials_lifted;
      case Kind::System:
      case Kind::Shared: return inside && (is_exempt(path()) || has_entry_within(blocked.path));
      default: return false;
    }
  }

  // Whether an entry names the path or a directory above it that is itself `folder` or within it: an entry that is
  // wider than what is blocked says nothing about it.
  bool has_entry_within(std::string_view folder) const {
    const auto speaks = [&](const std::string& entry) { return is_within(path(), entry) && is_within(entry, folder); };
    for (const Words* list : {&allow_, &allow_read_only_, &allow_credentials_}) {
      if (std::any_of(list->begin(), list->end(), speaks)) return true;
    }
    return false;
  }

  // Dot-directories of a home: settings and caches of programs, with more secrets than anybody can list.
  bool judge_private(const Words& more_homes) {
    for (const Words* homes : {&policy_.host.own_homes, &policy_.host.other_homes, &more_homes}) {
      for (const std::string& given : *homes) {
        const std::string home = homes == &policy_.host.own_homes ? resolved_or_same(cleaned(given)) : cleaned(given);
        if (home == "/" || !is_strictly_within(path(), home) || path()[home.size() + 1] != '.') continue;
        const Blocked blocked{path().substr(0, path().find('/', home.size() + 1)), Kind::Private, true};
        if (has_entry_within(blocked.path)) return false;
        refuse_blocked(blocked, true);
        return true;
      }
    }
    return false;
  }

  void refuse_blocked(const Blocked& blocked, bool inside) {
    const char* what = "";
    const char* remedy = "mount a directory beside it, such as one of a project";
    switch (blocked.kind) {
      case Kind::Listed:
        what = "which the policy blocks";
        remedy = "mount another directory, or take the entry out of mounts.block in the policy file";
        break;
      case Kind::State: what = "which is the engine's own: what a guest changed there would break out of it"; break;
      case Kind::Kernel: what = "which is the host itself"; break;
      case Kind::Sockets: what = "through which services of the host are reached"; break;
      case Kind::Credentials:
        what = "which holds keys and tokens";
        remedy =
            "mount a project directory instead; if a guest must see these, list the directory in "
            "mounts.allow_credentials of the policy file";
        break;
      case Kind::System:
        what = "which belongs to the host's system";
        remedy = "mount another directory, or list exactly this one in mounts.allow of the policy file";
        break;
      case Kind::Shared:
        what = "in which everybody keeps something";
        remedy = "mount a directory in it, or list it in mounts.allow of the policy file";
        break;
      case Kind::Private:
        what = "in which programs keep settings and secrets";
        remedy = "mount another directory, or list exactly this one in mounts.allow of the policy file";
        break;
    }
    const char* relation = path() == blocked.path ? "is" : inside ? "lies in" : "contains";
    const std::string where = blocked.kind == Kind::Listed ? at_line(policy_.block.line) : std::string();
    const std::string object =
        path() == blocked.path ? "a directory" : fmt::format("\"{}\"", base::printable(blocked.path));
    decide(false, rule_of(blocked.kind), fmt::format("{} {} {}, {}{}", shown(), relation, object, what, where), remedy);
  }

  bool judge_listed() {
    const std::size_t writable = std::max(nearest(allow_, path()), nearest(allow_credentials_, path()));
    const std::size_t readable = nearest(allow_read_only_, path());
    if (!read_only_) {
      const auto inner = std::find_if(allow_read_only_.begin(), allow_read_only_.end(),
                                      [&](const std::string& entry) { return is_strictly_within(entry, path()); });
      if (readable > writable || inner != allow_read_only_.end()) {
        refuse_writing(readable > writable ? std::string() : *inner);
        return true;
      }
    }
    if (writable == 0 && readable == 0) return false;
    const bool by_writable = writable > 0 && writable >= readable;
    const bool by_credentials = by_writable && nearest(allow_, path()) < writable;
    const char* rule = !by_writable     ? "mounts.allow_read_only"
                       : by_credentials ? "mounts.allow_credentials"
                                        : "mounts.allow";
    const std::uint32_t line = !by_writable     ? policy_.allow_read_only.line
                               : by_credentials ? policy_.allow_credentials.line
                                                : policy_.allow.line;
    decide(true, rule, fmt::format("{} lies in a directory that the policy lists{}", shown(), at_line(line)));
    return true;
  }

  void refuse_writing(const std::string& inner) {
    const std::string what =
        inner.empty() ? std::string("is") : fmt::format("contains \"{}\", which is", base::printable(inner));
    decide(false, "mounts.allow_read_only",
           fmt::format("{} {} listed for reading only{}", shown(), what, at_line(policy_.allow_read_only.line)),
           "ask for it with read_only true, or list it in mounts.allow of the policy file too");
  }

  void judge_own() {
    const auto& own = policy_.own_directories;
    if (!own.value) {
      const std::string reason =
          fmt::format("{} is in no directory that the policy lists{}", shown(), at_line(policy_.allow.line));
      return decide(false, "mounts.allow", reason, kAddToAllow);
    }
    for (const std::string& given : policy_.host.own_homes) {
      const std::string home = resolved_or_same(cleaned(given));
      if (home != "/" && is_strictly_within(path(), home)) {
        return decide(true, "mounts.own_directories", fmt::format("{} lies in the user's home", shown()));
      }
    }
    if (directory_.owner == policy_.host.uid) {
      return decide(true, "mounts.own_directories",
                    fmt::format("{} belongs to the user that sandboxes run as{}", shown(), at_line(own.line)));
    }
    decide(
        false, "mounts.own_directories",
        fmt::format("{} belongs to user {}, and sandboxes run as user {}", shown(), directory_.owner, policy_.host.uid),
        kAddToAllow);
  }

  const Policy& policy_;
  const std::string& asked_;
  const bool read_only_;
  const Words allow_, allow_read_only_, allow_credentials_;
  ResolvedDirectory directory_;
  Verdict verdict_;
};

}  // namespace

MountVerdict evaluate_mount(const Policy& policy, const std::string& host_path, bool read_only) {
  return MountJudge(policy, host_path, read_only).judge();
}

}  // namespace sandforge::policy
