// SPDX-License-Identifier: Apache-2.0
#include "jail/enter.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "base/unique_fd.hpp"

namespace sandforge::jail {
namespace {

base::Status enter_namespaces(const Options& options) {
  const std::uint32_t uid = ::geteuid(), gid = ::getegid();
  // Not the PID namespace: a process gets that at its birth (base::SpawnOptions::own_pids) or only for its children.
  constexpr int kSpaces = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWCGROUP;
  if (::unshare(kSpaces) != 0) return no_user_namespaces("enter namespaces of its own", errno);
  return options.own_id_is_zero ? map_own_id_to_zero(uid, gid) : base::Status();
}

// An empty, unwritable root; the old one goes, with everything that was mounted below it.
base::Status empty_root() {
  constexpr const char* kSpot = "/proc";  // any directory: the new root is mounted over it, then moved to the top
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return base::os_error("keep mounts private");
  constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY;
  if (::mount("none", kSpot, "tmpfs", kFlags, "size=4k,mode=0500") != 0) return base::os_error("mount an empty root");
  if (::chdir(kSpot) != 0) return base::os_error("enter the empty root");
  // The old root is laid over the new one, and taken away from there.
  if (::syscall(SYS_pivot_root, ".", ".") != 0) return base::os_error("change to the empty root");
  if (::umount2(".", MNT_DETACH) != 0) return base::os_error("leave the old root");
  if (::chdir("/") != 0) return base::os_error("enter the empty root");
  return {};
}

base::Status drop_capabilities() {
  for (int capability = 0; ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
    if (::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) return base::os_error("drop a capability");
  }
  (void)::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const __user_cap_data_struct none[2] = {};
  if (::syscall(SYS_capset, &header, none) != 0) return base::os_error("drop all capabilities");
  return {};
}

// SPEC: Linux Documentation/userspace-api/landlock.rst. Numbers of our own: the build machine's headers may be older
// than the kernel that this runs on.
constexpr long kLandlockCreate = 444, kLandlockRestrict = 446;
constexpr unsigned kLandlockVersion = 1;  // a flag: asks for the version
struct LandlockRuleset {
  std::uint64_t files, network, scopes;
};

// No path and no port may be used, no abstract socket and no signal may leave: a second wall behind the empty root,
// where the kernel has it. Rights that the kernel does not know yet must not be named, so they go by its version.
base::Status forbid_paths() {
  const long version = ::syscall(kLandlockCreate, nullptr, 0, kLandlockVersion);
  if (version < 1) return {};                                                   // not in this kernel, or switched off
  constexpr std::uint64_t kFiles[] = {0x1fff, 0x3fff, 0x7fff, 0x7fff, 0xffff};  // of versions 1 to 5
  const LandlockRuleset rules{kFiles[version < 5 ? version - 1 : 4], version >= 4 ? 3u : 0u, version >= 6 ? 3u : 0u};
  const std::size_t bytes = version >= 6 ? sizeof rules : version >= 4 ? 16 : 8;
  const long ruleset = ::syscall(kLandlockCreate, &rules, bytes, 0);
  if (ruleset < 0) return base::os_error("make a Landlock rule set");
  const long restricted = ::syscall(kLandlockRestrict, ruleset, 0);
  const int number = errno;
  ::close(static_cast<int>(ruleset));
  if (restricted != 0) return base::os_error("forbid all paths", number);
  return {};
}

base::Status limit(__rlimit_resource resource, rlim_t value, const char* what) {
  const rlimit both{value, value};
  if (::setrlimit(resource, &both) != 0) return base::os_error(what);
  return {};
}

base::Status limit_resources(const Limits& limits) {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return base::os_error("read the limit of open files");
  SANDFORGE_TRY_STATUS(limit(RLIMIT_CORE, 0, "forbid core files"));
  SANDFORGE_TRY_STATUS(limit(RLIMIT_NOFILE, std::min<rlim_t>(limits.open_files, files.rlim_max), "limit open files"));
  SANDFORGE_TRY_STATUS(limit(RLIMIT_FSIZE, limits.file_bytes, "limit the size of files"));
  return limit(RLIMIT_MEMLOCK, 0, "forbid locked memory");
}

}  // namespace

base::Error no_user_namespaces(const char* what, int number) {
  base::Error error = base::os_error(what, number);
  error.code = base::Code::Denied;
  error.reason = "user_namespaces";
  return std::move(error).with_remedy(
      "sysctl user.max_user_namespaces=10000 (and kernel.unprivileged_userns_clone=1 "
      "where it exists)");
}

// SPEC: user_namespaces(7): one line, the own id, and no setgroups: what any process may write.
base::Status map_own_id_to_zero(std::uint32_t uid, std::uint32_t gid) {
  const auto line = [](std::uint32_t id) { return "0 " + std::to_string(id) + " 1"; };
  const std::pair<const char*, std::string> files[] = {
      {"/proc/self/setgroups", "deny"}, {"/proc/self/uid_map", line(uid)}, {"/proc/self/gid_map", line(gid)}};
  for (const auto& [file, text] : files) {
    const base::UniqueFd fd(::open(file, O_WRONLY | O_CLOEXEC));
    if (!fd || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
      return base::os_error(std::string("write ") + file);
    }
  }
  return {};
}

base::Status enter(const Options& options) {
  int death_signal = 0;
  ::prctl(PR_GET_PDEATHSIG, &death_signal);
  const pid_t parent = ::getppid();
  ::umask(077);
  if (::syscall(SYS_close_range, static_cast<unsigned>(options.last_descriptor) + 1, ~0u, 0) != 0) {
    return base::os_error("close what was not asked for");
  }
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return base::os_error("give up new privileges");
  SANDFORGE_TRY_STATUS(enter_namespaces(options));
  SANDFORGE_TRY_STATUS(empty_root());
  SANDFORGE_TRY_STATUS(drop_capabilities());
  if (options.forbid_paths) SANDFORGE_TRY_STATUS(forbid_paths());
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return base::os_error("forbid dumps");
  SANDFORGE_TRY_STATUS(limit_resources(options.limits));
  // A change of credentials may have cleared the death signal; the parent may have died meanwhile. In a PID namespace
  // of its own this process sees no parent: then the hang-up of the control socket tells (main.cpp).
  if (death_signal != 0) {
    if (::prctl(PR_SET_PDEATHSIG, death_signal) != 0) return base::os_error("end with the parent");
    if (::getppid() != parent) return base::make_error(base::Code::Disconnected, {}, "the parent has ended");
  }
  return {};
}

base::Status limit_file_size(std::span<const int> files) {
  rlim_t longest = 0;
  for (const int file : files) {
    struct stat info {};
    if (::fstat(file, &info) != 0) return base::os_error("look at a file to be written");
    longest = std::max(longest, static_cast<rlim_t>(info.st_size));
  }
  return limit(RLIMIT_FSIZE, longest, "limit the size of files");
}

base::Status forbid_threads() { return limit(RLIMIT_NPROC, 0, "forbid further threads"); }

}  // namespace sandforge::jail
