// SPDX-License-Identifier: Apache-2.0
#include "fsd/clone.hpp"

#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <string>

namespace sandforge::fsd {
namespace {

base::Result<struct stat> look_at_directory(int directory) {
  struct stat info {};
  if (::fstat(directory, &info) != 0) return base::os_error("look at the directory");
  if (!S_ISDIR(info.st_mode)) {
    return base::make_error(base::Code::InvalidArgument, "not_a_directory", "the host path is not a directory",
                            "mount the directory that holds it");
  }
  return info;
}

base::Result<base::UniqueFd> clone(int directory, bool read_only, unsigned recursive) {
  constexpr unsigned kClone = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;
  base::UniqueFd tree(static_cast<int>(::syscall(SYS_open_tree, directory, "", kClone | recursive)));
  if (!tree) return base::os_error("clone the mount of the directory");
  struct mount_attr attributes {};
  attributes.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  if (read_only) attributes.attr_set |= MOUNT_ATTR_RDONLY;
  attributes.propagation = MS_PRIVATE;
  if (::syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH | recursive, &attributes, sizeof attributes) != 0) {
    return base::os_error("set the flags of the directory's mount");
  }
  return tree;
}

}  // namespace

base::Result<base::UniqueFd> clone_mount(int directory, bool read_only) {
  SANDFORGE_TRY([[maybe_unused]] const struct stat info, look_at_directory(directory));
  return clone(directory, read_only, 0);
}

base::Result<base::UniqueFd> clone_mount_unprivileged(int directory, bool read_only) {
  SANDFORGE_TRY(const struct stat wanted, look_at_directory(directory));
  std::array<char, 4096> path{};
  const std::string link = "/proc/self/fd/" + std::to_string(directory);
  if (const ssize_t n = ::readlink(link.c_str(), path.data(), path.size() - 1); n <= 0) {
    return base::os_error("find the path of the directory");
  }
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
    base::Error error = base::os_error("make a mount namespace to clone the directory's mount in");
    error.code = base::Code::Denied;
    error.reason = "user_namespaces";
    return std::move(error).with_remedy(
        "run the daemon as root, or allow user namespaces: sysctl user.max_user_namespaces=10000 (and "
        "kernel.unprivileged_userns_clone=1 or kernel.apparmor_restrict_unprivileged_userns=0 where they exist)");
  }
  const base::UniqueFd again(::open(path.data(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat found {};
  if (!again || ::fstat(again.get(), &found) != 0 || found.st_dev != wanted.st_dev || found.st_ino != wanted.st_ino) {
    return base::make_error(base::Code::Conflict, "directory_moved",
                            "the host directory is no longer where it was: " + std::string(path.data()),
                            "try again once nothing renames it");
  }
  auto tree = clone(again.get(), read_only, 0);
  // In a namespace like this one, what is mounted below the directory is locked to it. It comes along and is not
  // entered: the file server crosses no mount.
  if (!tree && tree.error().os_errno == EINVAL) tree = clone(again.get(), read_only, AT_RECURSIVE);
  return tree;
}

}  // namespace sandforge::fsd
