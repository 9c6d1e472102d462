// SPDX-License-Identifier: Apache-2.0
// The verdicts of a policy. No I/O but that host paths are resolved; every function from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "policy/host_path.hpp"
#include "policy/policy.hpp"

namespace sandforge::policy {

struct Verdict {
  bool allowed = true;
  std::string rule;  // what decided: the key of the policy ("limits.cpu"), or a built-in rule ("mounts.builtin.state")
  std::string reason;  // one sentence, also when allowed
  std::string remedy;  // when refused
  // When refused: denied "policy_denied", or what is wrong with a path that no policy needs to judge.
  base::Code code = base::Code::Denied;
  std::string word = "policy_denied";
  int os_errno = 0;
};
// Of a refusal. `what` stands in front of the message: the part of the spec.
base::Error to_error(const Verdict& refused, std::string_view what);

struct MountFacts {
  std::string host_path;
  bool read_only = false;
};
// A create spec as it would be: every default filled in.
struct SpecFacts {
  std::int64_t cpu = 0, memory_mb = 0, disk_gb = 0, timeout_sec = 0;
  std::string network_mode;
  std::string backend;  // "" when the engine chooses: it keeps to those that allows_backend
  std::vector<MountFacts> mounts;
};

struct MountVerdict {
  Verdict verdict;
  ResolvedDirectory directory;  // when allowed; see there what whoever opens it must compare
};
struct Part {
  std::string name;  // of the field: "cpu", "mounts[0].host_path"
  Verdict verdict;
};
struct Judgement {
  std::vector<Part> parts;                // in the order of the spec's fields
  std::vector<ResolvedDirectory> mounts;  // as many as the spec has, when all are allowed

  const Part* first_refused() const noexcept;  // null: all of it is allowed
  base::Status status() const;                 // the error of that part
};

// Everything of a spec but the count of sandboxes and the isolation that the backend gives.
Judgement evaluate(const Policy& policy, const SpecFacts& facts);
// One more sandbox, beside `living` others.
Verdict evaluate_count(const Policy& policy, std::size_t living);
// A backend and the isolation (number of sandforge_isolation) that it gives on this host.
Verdict evaluate_backend(const Policy& policy, std::string_view name, std::uint32_t isolation);
bool allows_backend(const Policy& policy, std::string_view name);
// So many mounts of one sandbox, at create or with one more attached.
Verdict evaluate_mount_count(const Policy& policy, std::size_t mounts);
// A directory of the host, at create or attached later. Its path is resolved first.
MountVerdict evaluate_mount(const Policy& policy, const std::string& host_path, bool read_only);
// Looks at the words of a command and at nothing else: see doc/policy.md for what that cannot stop.
Verdict evaluate_command(const Policy& policy, std::span<const std::string> argv);

}  // namespace sandforge::policy
