// SPDX-License-Identifier: Apache-2.0
#include "fsd/process/seccomp.hpp"

#include <fcntl.h>
#include <sys/syscall.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452  // Linux 6.6
#endif

namespace sandforge::fsd {
namespace {

using Check = jail::SyscallRule::Check;

constexpr jail::SyscallRule kWorkerRules[] = {
    {SYS_poll, Check::None, "wait for requests, or for room for answers"},
    {SYS_recvmsg, Check::None, "requests of the guest"},
    {SYS_sendmsg, Check::None, "answers to the guest"},
    {SYS_read, Check::None, "take the count of the event descriptor that wakes it"},
    {SYS_write, Check::None, "its last words, to the log"},
    {SYS_openat2, Check::None, "look names up; open and create files"},
    {SYS_statx, Check::None, "attributes"},
    {SYS_close, Check::None, "files that the guest closed or forgot"},
    {SYS_fcntl, Check::Command, "lend an open file once more", F_DUPFD_CLOEXEC},
    {SYS_preadv, Check::None, "READ"},
    {SYS_pwritev2, Check::None, "WRITE, at its offset or at the end"},
    {SYS_lseek, Check::None, "LSEEK; go on in a directory where the guest left off"},
    {SYS_getdents64, Check::None, "READDIR"},
    {SYS_ftruncate, Check::None, "SETATTR of the size; O_TRUNC"},
    {SYS_fallocate, Check::None, "FALLOCATE"},
    {SYS_copy_file_range, Check::None, "COPY_FILE_RANGE"},
    {SYS_fsync, Check::None, "FSYNC"},
    {SYS_fdatasync, Check::None, "FSYNC of the data alone"},
    {SYS_fstatfs, Check::None, "STATFS"},
    {SYS_faccessat2, Check::None, "ACCESS"},
    {SYS_fchmodat2, Check::None, "SETATTR of the mode"},
    {SYS_fchmod, Check::None, "the same before Linux 6.6"},
    {SYS_utimensat, Check::None, "SETATTR of the times"},
    {SYS_mkdirat, Check::None, "MKDIR"},
    {SYS_symlinkat, Check::None, "SYMLINK"},
    {SYS_readlinkat, Check::None, "READLINK"},
    {SYS_linkat, Check::None, "LINK"},
    {SYS_unlinkat, Check::None, "UNLINK and RMDIR"},
    {SYS_renameat2, Check::None, "RENAME"},
    {SYS_futex, Check::None, "the lock of the table of mounts"},
    {SYS_mmap, Check::FreshMemory, "the allocator"},
    {SYS_mprotect, Check::NoExecutable, "the allocator"},
    {SYS_munmap, Check::None, "the allocator"},
    {SYS_madvise, Check::GiveBack, "the allocator; message buffers when idle"},
    {SYS_brk, Check::None, "the allocator"},
    {SYS_restart_syscall, Check::None, "poll goes on after the process was stopped"},
    {SYS_rt_sigreturn, Check::None, "come back from a signal"},
    {SYS_exit_group, Check::None, "the guest's side has ended"},
};

constexpr jail::SyscallRule kControlRules[] = {
    {SYS_poll, Check::None, "wait for requests of the owner"},
    {SYS_recvmsg, Check::None, "requests, and the mounts that come with them"},
    {SYS_sendmsg, Check::None, "answers"},
    {SYS_accept4, Check::None, "a later owner"},
    {SYS_statx, Check::None, "Attach: what was given is the top of a mount"},
    {SYS_fstatfs, Check::None, "Attach: its flags"},
    {SYS_write, Check::None, "wake the worker; last words"},
    {SYS_close, Check::None, "mounts that were detached, owners that left"},
    {SYS_futex, Check::None, "the lock of the table of mounts"},
    {SYS_mmap, Check::FreshMemory, "the allocator"},
    {SYS_mprotect, Check::NoExecutable, "the allocator"},
    {SYS_munmap, Check::None, "the allocator"},
    {SYS_madvise, Check::GiveBack, "the allocator"},
    {SYS_brk, Check::None, "the allocator"},
    {SYS_restart_syscall, Check::None, "poll goes on after the process was stopped"},
    {SYS_rt_sigreturn, Check::None, "come back from a signal"},
    {SYS_exit_group, Check::None, "Stop"},
};

}  // namespace

std::span<const jail::SyscallRule> syscall_rules(ThreadRole role) {
  if (role == ThreadRole::Worker) return kWorkerRules;
  return kControlRules;
}

}  // namespace sandforge::fsd
