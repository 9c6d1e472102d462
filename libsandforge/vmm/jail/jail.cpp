// SPDX-License-Identifier: Apache-2.0
#include "vmm/jail/jail.hpp"

#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>

namespace sandforge::vmm {
namespace {

base::Status enter_namespaces() {
  // No PID namespace: it would hold children only, and there will be none (no role may fork).
  constexpr int kSpaces = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWCGROUP;
  if (::unshare(kSpaces) == 0) return {};
  base::Error error = base::os_error("enter namespaces of its own");
  error.code = base::Code::Denied;
  error.reason = "user_namespaces";
  return std::move(error).with_remedy(
      "sysctl user.max_user_namespaces=10000 (and kernel.unprivileged_userns_clone=1 "
      "where it exists)");
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

base::Status limit(__rlimit_resource resource, rlim_t value, const char* what) {
  const rlimit both{value, value};
  if (::setrlimit(resource, &both) != 0) return base::os_error(what);
  return {};
}

}  // namespace

base::Status enter_jail(int last_descriptor) {
  int death_signal = 0;
  ::prctl(PR_GET_PDEATHSIG, &death_signal);
  const pid_t parent = ::getppid();
  if (::syscall(SYS_close_range, static_cast<unsigned>(last_descriptor) + 1, ~0u, 0) != 0) {
    return base::os_error("close what was not asked for");
  }
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return base::os_error("give up new privileges");
  SANDFORGE_TRY_STATUS(enter_namespaces());
  SANDFORGE_TRY_STATUS(empty_root());
  SANDFORGE_TRY_STATUS(drop_capabilities());
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return base::os_error("forbid dumps");
  SANDFORGE_TRY_STATUS(limit(RLIMIT_CORE, 0, "forbid core files"));
  // A change of credentials may have cleared the death signal; the parent may have died meanwhile.
  if (death_signal != 0) {
    if (::prctl(PR_SET_PDEATHSIG, death_signal) != 0) return base::os_error("end with the parent");
    if (::getppid() != parent) ::raise(SIGKILL);
  }
  return {};
}

}  // namespace sandforge::vmm
