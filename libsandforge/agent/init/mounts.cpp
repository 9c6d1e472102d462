// SPDX-License-Identifier: Apache-2.0
#include "agent/init/mounts.hpp"

#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>

namespace sandforge::agent {

namespace {
constexpr const char* kLower = "/mnt/lower";
constexpr const char* kDisk = "/mnt/disk";

struct DeviceNode {
  const char* name;
  unsigned major_number, minor_number;
};
constexpr DeviceNode kNodes[] = {{"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
                                 {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
struct Link {
  const char* name;
  const char* target;
};
constexpr Link kLinks[] = {{"fd", "/proc/self/fd"},
                           {"stdin", "/proc/self/fd/0"},
                           {"stdout", "/proc/self/fd/1"},
                           {"stderr", "/proc/self/fd/2"},
                           {"ptmx", "pts/ptmx"}};

base::Status make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return base::os_error("mkdir " + path);
  return {};
}

// Few nodes, then read-only: a task may make device nodes (CAP_MKNOD), and every other mount of the root is nodev.
base::Status fill_dev(const std::string& dev) {
  SANDFORGE_TRY_STATUS(mount_at("dev", dev, "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=64k"));
  for (const DeviceNode& node : kNodes) {
    const std::string path = dev + "/" + node.name;
    if (::mknod(path.c_str(), S_IFCHR | 0666, makedev(node.major_number, node.minor_number)) != 0 ||
        ::chmod(path.c_str(), 0666) != 0) {
      return base::os_error("mknod " + path);
    }
  }
  for (const Link& link : kLinks) {
    const std::string path = dev + "/" + link.name;
    if (::symlink(link.target, path.c_str()) != 0) return base::os_error("symlink " + path);
  }
  constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV;
  SANDFORGE_TRY_STATUS(
      mount_at("devpts", dev + "/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"));
  SANDFORGE_TRY_STATUS(mount_at("shm", dev + "/shm", "tmpfs", kFlags | MS_NOEXEC, "mode=1777"));
  SANDFORGE_TRY_STATUS(mount_at("mqueue", dev + "/mqueue", "mqueue", kFlags | MS_NOEXEC));
  if (::mount(nullptr, dev.c_str(), nullptr, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NOEXEC, "size=64k") != 0) {
    return base::os_error("remount " + dev);
  }
  return {};
}
}  // namespace

base::Status mount_at(const char* source, const std::string& target, const char* type, unsigned long flags,
                      const char* options) {
  // A root file system that lacks the directory may be read-only just there: mount tells.
  (void)::mkdir(target.c_str(), 0755);
  if (::mount(source, target.c_str(), type, flags, options) != 0) return base::os_error("mount " + target);
  return {};
}

base::Status enter_memory_root() {
  SANDFORGE_TRY_STATUS(mount_at("agent", "/mnt", "tmpfs", MS_NOSUID | MS_NODEV, "mode=700,size=1m"));
  if (::chdir("/mnt") != 0 || ::mount(".", "/", nullptr, MS_MOVE, nullptr) != 0 || ::chroot(".") != 0 ||
      ::chdir("/") != 0) {
    return base::os_error("enter the memory root");
  }
  for (const char* path : {"/mnt", kLower, kDisk}) SANDFORGE_TRY_STATUS(make_directory(path));
  return {};
}

base::Status mount_root(const std::string& root_device, const std::string& disk_device, const std::string& new_root) {
  const std::string disk = kDisk;
  SANDFORGE_TRY_STATUS(mount_at(("/dev/" + root_device).c_str(), kLower, "erofs", MS_RDONLY | MS_NODEV));
  // noinit_itable: the host made the file system without filling its inode tables; nobody needs them written now.
  SANDFORGE_TRY_STATUS(mount_at(("/dev/" + disk_device).c_str(), disk, "ext4", MS_NODEV | MS_NOATIME, "noinit_itable"));
  SANDFORGE_TRY_STATUS(make_directory(disk + "/upper"));
  SANDFORGE_TRY_STATUS(make_directory(disk + "/work"));
  const std::string options = std::string("lowerdir=") + kLower + ",upperdir=" + disk + "/upper,workdir=" + disk +
                              "/work,redirect_dir=on,xino=off";
  SANDFORGE_TRY_STATUS(mount_at("overlay", new_root, "overlay", MS_NODEV | MS_NOATIME, options.c_str()));
  if (::mount(nullptr, new_root.c_str(), nullptr, MS_SHARED | MS_REC, nullptr) != 0) {
    return base::os_error("share " + new_root);
  }
  return {};
}

base::Status fill_root(const std::string& new_root) {
  constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV;
  SANDFORGE_TRY_STATUS(mount_at("proc", new_root + "/proc", "proc", kFlags | MS_NOEXEC));
  SANDFORGE_TRY_STATUS(mount_at("sysfs", new_root + "/sys", "sysfs", kFlags | MS_NOEXEC | MS_RDONLY));
  SANDFORGE_TRY_STATUS(mount_at("run", new_root + "/run", "tmpfs", kFlags, "mode=755"));
  SANDFORGE_TRY_STATUS(fill_dev(new_root + "/dev"));
  const std::string tmp = new_root + "/tmp";
  SANDFORGE_TRY_STATUS(make_directory(tmp));
  if (::chmod(tmp.c_str(), 01777) != 0) return base::os_error("chmod " + tmp);
  return {};
}

}  // namespace sandforge::agent
