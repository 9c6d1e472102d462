// SPDX-License-Identifier: Apache-2.0
// What runs between clone and execve. The child shares no memory with the agent any more, but a lock of the allocator
// may be held in its copy: only system calls here, everything else was prepared in ChildPlan.
#pragma once

#include <linux/filter.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace sandforge::agent {

// All pointers and descriptors are the agent's and stay valid in the child's copy.
struct ChildPlan {
  bool container = true;
  const char* root = nullptr;  // path of the guest's root in the agent's mount namespace; a mount point
  int stdin_fd = -1, stdout_fd = -1, stderr_fd = -1;
  int report_fd = -1;  // SOCK_SEQPACKET; ChildReport records
  char* const* argv = nullptr;
  char* const* env = nullptr;
  char* const* candidates = nullptr;
  const char* cwd = nullptr;
  uid_t uid = 0;
  gid_t gid = 0;
  const gid_t* groups = nullptr;
  std::size_t group_count = 0;
  std::span<const sock_filter> filter;
};

enum class ChildStage : std::uint32_t {
  Setup,
  Namespaces,
  Root,
  Mounts,
  Identity,
  WorkingDirectory,
  Filter,
  Program,
  Interpreter
};
const char* stage_name(ChildStage stage) noexcept;

//   container:  Started (with the pidfd of the main process as SCM_RIGHTS, its number as SCM_CREDENTIALS), then Exited;
//               or Failed
//   process:    Failed, or the end of the stream when execve succeeded
struct ChildReport {
  enum class Kind : std::uint32_t { Started, Failed, Exited };
  Kind kind;
  ChildStage stage;    // Failed
  std::int32_t value;  // Failed: errno; Exited: wait status
};

// In the child of clone3. Never returns.
[[noreturn]] void run_child(const ChildPlan& plan) noexcept;

}  // namespace sandforge::agent
