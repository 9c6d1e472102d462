// SPDX-License-Identifier: Apache-2.0
// A control group (cgroup v2) for one guest's monitor: hard limits on memory, processes and CPU time.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/result.hpp"

namespace sandforge::backend {

struct CgroupLimits {
  std::uint64_t memory_bytes = 0;
  std::uint32_t processes = 0;
  std::uint32_t cpus = 0;
};

// Where groups for guests may be made: the folder, or "" where there is none. That is, in this order:
//   the root of the hierarchy, when this process is in it (a container, a machine without a service manager)
//   the parent of this process's own group, when it is this user's or was delegated (systemd: Delegate=yes and the
//   engine in a group below). Anywhere else the groups belong to somebody else, and are left alone.
std::string cgroup_folder();

// Owns the group: it is removed with the object, empty by then.
class GuestCgroup {
 public:
  GuestCgroup() = default;
  GuestCgroup(GuestCgroup&& other) noexcept : path_(std::move(other.path_)) { other.path_.clear(); }
  GuestCgroup& operator=(GuestCgroup&& other) noexcept;
  ~GuestCgroup();

  // An empty object where cgroup_folder() has none or lacks the memory controller; that is no error. Errors: of the
  // file system.
  static base::Result<GuestCgroup> create(const std::string& name, const CgroupLimits& limits);
  // One that a former owner left behind.
  static GuestCgroup take_over(std::string path) { return GuestCgroup(std::move(path)); }

  base::Status add(pid_t process) const;
  // Leaves the group in place, for its next owner.
  void leave() noexcept { path_.clear(); }
  const std::string& path() const noexcept { return path_; }

 private:
  explicit GuestCgroup(std::string path) : path_(std::move(path)) {}

  std::string path_;  // empty: none
};

}  // namespace sandforge::backend
