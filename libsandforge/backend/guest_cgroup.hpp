// SPDX-License-Identifier: Apache-2.0
// A control group (cgroup v2) for one guest's monitor: hard limits on memory, processes and CPU time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::backend {

struct CgroupLimits {
  std::uint64_t memory_bytes = 0;
  std::uint32_t processes = 0;
  std::uint32_t cpus = 0;
};

// Where groups for guests are made, and what can be limited there.
struct CgroupPlace {
  std::string folder;  // "": nowhere
  bool memory = false, pids = false, cpu = false;

  // What a probe shows: "limits by control groups", or what of it is missing.
  std::string describe() const;
};

// The place of this process. The folder is, in this order:
//   the root of the hierarchy, when this process is in it (a container, a machine without a service manager)
//   the parent of this process's own group, when it is this user's or was delegated (systemd: Delegate=yes and the
//   engine in a group below). Anywhere else the groups belong to somebody else, and are left alone.
// Controllers that are off are switched on, and found missing where that is refused (the root of a container's
// namespace, which has processes of its own).
CgroupPlace find_cgroup_place();
// Its folder alone; nothing is switched on.
std::string cgroup_folder();
// The place in a folder that is known.
CgroupPlace open_cgroup_place(std::string folder);

// What is written to bring the limits about: file and value, in this order. `may_fail`: not in every kernel.
struct CgroupSetting {
  const char* file;
  std::string value;
  bool may_fail = false;
};
std::vector<CgroupSetting> cgroup_settings(const CgroupPlace& place, const CgroupLimits& limits);

// A name for the groups of an engine: no other on this host has that of its directory `sandboxes`. "" without one.
std::string cgroup_owner(const std::filesystem::path& sandboxes);
// Removes groups of this owner that no process lives in: what a killed engine left behind. Answers how many.
std::size_t remove_leftover_cgroups(const std::string& folder, const std::string& owner);

// Owns the group: it is removed with the object, empty by then.
class GuestCgroup {
 public:
  GuestCgroup() = default;
  GuestCgroup(GuestCgroup&& other) noexcept : path_(std::move(other.path_)) { other.path_.clear(); }
  GuestCgroup& operator=(GuestCgroup&& other) noexcept;
  ~GuestCgroup();

  // With the limits that the place has; an empty object where it has none, which is no error. Errors: of the file
  // system.
  static base::Result<GuestCgroup> create(const CgroupPlace& place, const std::string& owner,
                                          const CgroupLimits& limits);
  // One that a former owner left behind.
  static GuestCgroup take_over(std::string path) { return GuestCgroup(std::move(path)); }

  // For SpawnOptions::cgroup; empty when the object is.
  base::Result<base::UniqueFd> open() const;
  // Leaves the group in place, for its next owner.
  void leave() noexcept { path_.clear(); }
  const std::string& path() const noexcept { return path_; }

 private:
  explicit GuestCgroup(std::string path) : path_(std::move(path)) {}

  std::string path_;  // empty: none
};

}  // namespace sandforge::backend
