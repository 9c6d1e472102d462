// SPDX-License-Identifier: Apache-2.0
// Linux system calls that glibc 2.36 does not wrap, or wraps in a way a freshly cloned child must not use.
#pragma once

#include <linux/openat2.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstdint>

namespace sandforge::agent {

// Without CLONE_VM: returns twice like fork, but runs no fork handlers. The child may use nothing but system calls,
// since a helper thread may have held a lock of the allocator.
inline pid_t sys_clone3(clone_args& args) noexcept {
  return static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof(args)));
}

inline int sys_openat2(int directory, const char* path, std::uint64_t flags, std::uint64_t mode,
                       std::uint64_t resolve) noexcept {
  open_how how{};
  how.flags = flags;
  how.mode = mode;
  how.resolve = resolve;
  return static_cast<int>(::syscall(SYS_openat2, directory, path, &how, sizeof(how)));
}

inline int sys_pidfd_send_signal(int pidfd, int number) noexcept {
  return static_cast<int>(::syscall(SYS_pidfd_send_signal, pidfd, number, nullptr, 0));
}

inline int sys_close_range(unsigned first, unsigned last) noexcept {
  return static_cast<int>(::syscall(SYS_close_range, first, last, 0U));
}

}  // namespace sandforge::agent
