// SPDX-License-Identifier: Apache-2.0
#include "agent/workspaces.hpp"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "agent/channel.hpp"
#include "agent/console.hpp"
#include "agent/fuse_relay.hpp"
#include "agent/init/modules.hpp"
#include "agent/rooted_path.hpp"
#include "agent/uevent.hpp"
#include "wire/file_server.hpp"

namespace sandforge::agent {

namespace {
constexpr int kPortTimeoutMs = 5000;

base::Error bad_path(const char* why) {
  return base::make_error(base::Code::InvalidArgument, "bad_guest_path", std::string("guest path: ") + why,
                          "use an absolute path such as /work");
}

// The kernel's number of the mount that `fd` lies in; asks no file server.
base::Result<std::uint64_t> mount_number(int fd) {
  struct statx info {};
  constexpr int kFlags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC;
  if (::statx(fd, "", kFlags, STATX_MNT_ID, &info) != 0) return base::os_error("look at a mount");
  return std::uint64_t{info.stx_mnt_id};
}

base::Result<base::UniqueFd> detached_copy(const std::string& directory, bool read_only) {
  base::UniqueFd tree(
      static_cast<int>(::syscall(SYS_open_tree, AT_FDCWD, directory.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  if (!tree) return base::os_error("open the workspace");
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  if (read_only) attributes.attr_set |= MOUNT_ATTR_RDONLY;
  if (::syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) != 0) {
    return base::os_error("set up the workspace's mount");
  }
  return tree;
}
}  // namespace

base::Status check_guest_path(std::string_view path) {
  SANDFORGE_TRY_STATUS(check_path(path));
  std::string_view rest = path, first;
  while (!rest.empty()) {
    rest.remove_prefix(1);  // '/'
    const std::string_view name = rest.substr(0, rest.find('/'));
    rest.remove_prefix(name.size());
    if (name == "." || name == "..") return bad_path("holds . or ..");
    if (name.empty() && !rest.empty()) return bad_path("holds an empty name");
    if (first.empty()) first = name;
  }
  if (first.empty()) return bad_path("is the root");
  for (const std::string_view pseudo : {"proc", "sys", "dev"}) {
    if (first == pseudo) return bad_path("lies in a pseudo file system of the guest");
  }
  return {};
}

// The file server's root, at the place where it is bound from.
base::Status Workspaces::connect() {
  if (::mkdir(options_.directory.c_str(), 0700) != 0 && errno != EEXIST) return base::os_error("make a mount point");
  if (options_.stream >= 0) {
    return start_fuse_relay(base::UniqueFd(::fcntl(options_.stream, F_DUPFD_CLOEXEC, 0)), options_.directory);
  }
  Console console(2);
  load_modules(options_.modules, kMountModules, console);
  constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV;
  if (::mount(wire::kFileServerTag, options_.directory.c_str(), "virtiofs", kFlags, nullptr) == 0) return {};
  // EINVAL: no device has this tag; ENODEV: the kernel does not know the file system.
  const int error = errno;
  if (error != EINVAL && error != ENODEV) return base::os_error("mount the file server");
  SANDFORGE_TRY(const base::UniqueFd uevents, open_uevents());
  auto port = open_virtio_port(uevents.get(), wire::kFileServerPort, kPortTimeoutMs);
  if (!port) {
    return base::make_error(
        base::Code::Unsupported, "no_file_server",
        std::string("this guest has no way to a file server (virtiofs: ") + std::strerror(error) + ")",
        "create a new sandbox");
  }
  if (::fcntl(port.value().get(), F_SETFL, 0) != 0) return base::os_error("set up the file server's port");
  return start_fuse_relay(std::move(port).value(), options_.directory);
}

base::Status Workspaces::mount(int root, const wire::MountRequest& request) {
  SANDFORGE_TRY_STATUS(check_guest_path(request.guest_path));
  const std::lock_guard lock(mutex_);
  if (mounted_.contains(request.guest_path)) {
    return base::make_error(base::Code::Conflict, "already_mounted", request.guest_path + " is a mount already",
                            "unmount it first, or use another path");
  }
  if (!connected_) SANDFORGE_TRY_STATUS(connect());
  connected_ = true;
  SANDFORGE_TRY(const base::UniqueFd tree,
                detached_copy(options_.directory + "/" + std::to_string(request.index), request.read_only != 0));
  SANDFORGE_TRY_STATUS(make_directories(root, request.guest_path, 0755));
  SANDFORGE_TRY(const base::UniqueFd place, open_in_root(root, request.guest_path, O_PATH | O_DIRECTORY));
  SANDFORGE_TRY(const std::uint64_t number, mount_number(tree.get()));
  constexpr unsigned kBoth = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
  if (::syscall(SYS_move_mount, tree.get(), "", place.get(), "", kBoth) != 0) {
    return base::os_error("mount " + request.guest_path);
  }
  mounted_[request.guest_path] = number;
  return {};
}

base::Status Workspaces::unmount(int root, const std::string& guest_path) {
  const std::lock_guard lock(mutex_);
  const auto at = mounted_.find(guest_path);
  if (at == mounted_.end()) {
    return base::make_error(base::Code::NotFound, "not_mounted", guest_path + " is not a mount",
                            "list the sandbox's mounts");
  }
  // A task with the rights to may have moved or covered it: then there is nothing of ours to take away here.
  const auto place = open_in_root(root, guest_path, O_PATH | O_DIRECTORY);
  if (place) {
    const auto number = mount_number(place.value().get());
    const std::string path = "/proc/self/fd/" + std::to_string(place.value().get());
    if (number && number.value() == at->second && ::umount2(path.c_str(), MNT_DETACH) != 0) {
      return base::os_error("unmount " + guest_path);
    }
  }
  mounted_.erase(at);
  return {};
}

}  // namespace sandforge::agent
