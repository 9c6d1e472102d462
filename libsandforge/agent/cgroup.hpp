// SPDX-License-Identifier: Apache-2.0
// Cgroup: one control group (version 2) per task: limits, verdicts, usage, and the surest way to end a process tree.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::agent {

struct CgroupLimits {
  std::uint64_t memory_max = 0;     // bytes, 0: none
  std::uint32_t pids_max = 0;       // 0: none
  std::uint32_t cpu_max_milli = 0;  // thousandths of one CPU, 0: none
};

struct CgroupUsage {
  std::uint64_t cpu_ns = 0;
  std::uint64_t memory_peak = 0;  // bytes, 0 unknown
};

class Cgroup {
 public:
  Cgroup() = default;
  // The directory must be empty of processes by then; a group that cannot be removed is left behind.
  ~Cgroup();
  Cgroup(Cgroup&&) = default;
  Cgroup& operator=(Cgroup&&) = delete;
  // Takes over another group. Precondition: this one is empty.
  void adopt(Cgroup&& other) noexcept;

  explicit operator bool() const noexcept { return static_cast<bool>(directory_); }
  int directory() const noexcept { return directory_.get(); }
  // cgroup.events: reports EPOLLPRI when it changes. Re-arm by populated().
  int events() const noexcept { return events_.get(); }
  // Whether a process, not counting zombies, is in it.
  bool populated() const;
  void kill() noexcept;
  // Whether the kernel's memory killer struck here.
  bool out_of_memory() const;
  CgroupUsage usage() const;

 private:
  friend class CgroupRoot;
  int parent_ = -1;  // borrowed from CgroupRoot, which outlives all groups
  std::string name_;
  base::UniqueFd directory_;
  base::UniqueFd events_;
};

// The directory in which tasks' groups are made.
class CgroupRoot {
 public:
  // Opens `path` (cgroup2), enables memory, pids and cpu for children as far as they exist, and makes "tasks" in it.
  base::Status open(const char* path);
  bool available() const noexcept { return static_cast<bool>(tasks_); }
  // Makes a group with these limits. Unsupported when a limit was asked for that cannot be enforced here: a limit is
  // never silently left out.
  base::Result<Cgroup> create(const CgroupLimits& limits);

 private:
  base::UniqueFd tasks_;
  std::uint64_t next_ = 1;
};

}  // namespace sandforge::agent
