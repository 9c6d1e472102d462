// SPDX-License-Identifier: Apache-2.0
#include "vmm/jail/seccomp.hpp"

#include <sys/syscall.h>

#include "vmm/hypervisor/hypervisor.hpp"

namespace sandforge::vmm {
namespace {

using Check = SyscallRule::Check;

constexpr SyscallRule kVcpuRules[] = {
    {SYS_ioctl, Check::KnownRequest, "run the guest"},
    {SYS_futex, Check::None, "wait for the loop to serve an access"},
    {SYS_sched_yield, Check::None, "the C++ library's waits yield before they sleep"},
    {SYS_write, Check::None, "wake the loop by its event descriptor"},
    {SYS_mmap, Check::FreshMemory, "the allocator's arena of this thread"},
    {SYS_mprotect, Check::NoExecutable, "the allocator opens its arena piece by piece"},
    {SYS_munmap, Check::None, "the allocator gives memory back"},
    {SYS_madvise, Check::GiveBack, "the allocator gives pages back"},
    {SYS_brk, Check::None, "the allocator"},
    {SYS_rt_sigreturn, Check::None, "come back from the signal that interrupts the guest"},
    {SYS_exit_group, Check::None, "end the process when a check of the library fails"},
};

constexpr SyscallRule kLoopRules[] = {
    {SYS_epoll_wait, Check::None, "wait for events"},
    {SYS_epoll_ctl, Check::None, "watch connections as they come and go"},
    {SYS_read, Check::None, "take the count of event descriptors"},
    {SYS_write, Check::None, "interrupts; the guest's log"},
    {SYS_preadv, Check::None, "blk: read"},
    {SYS_pwritev, Check::None, "blk: write"},
    {SYS_fdatasync, Check::None, "blk: flush"},
    {SYS_fallocate, Check::None, "blk: discard"},
    {SYS_getrandom, Check::None, "rng: bytes for the guest"},
    {SYS_accept4, Check::None, "vsock and control: take a connection of the host"},
    {SYS_recvmsg, Check::None, "vsock: from the host into guest memory; control: requests"},
    {SYS_sendmsg, Check::None, "vsock: from guest memory to the host; control: answers"},
    {SYS_tgkill, Check::Kick, "pause: interrupt a vCPU in the guest", kKickSignal},
    {SYS_shutdown, Check::None, "vsock: the guest ended one direction"},
    {SYS_close, Check::None, "vsock: a stream ended"},
    {SYS_ioctl, Check::KnownRequest, "I/O APIC: change interrupt routes"},
    {SYS_futex, Check::None, "answer a vCPU thread; locks"},
    {SYS_mmap, Check::FreshMemory, "the allocator"},
    {SYS_mprotect, Check::NoExecutable, "the allocator"},
    {SYS_munmap, Check::None, "the allocator"},
    {SYS_madvise, Check::GiveBack, "the allocator; balloon"},
    {SYS_brk, Check::None, "the allocator"},
    {SYS_rt_sigreturn, Check::None, "come back from a signal"},
    {SYS_exit_group, Check::None, "the guest has ended"},
};

}  // namespace

std::span<const SyscallRule> syscall_rules(ThreadRole role) {
  if (role == ThreadRole::Vcpu) return kVcpuRules;
  return kLoopRules;
}

base::Status confine_thread(ThreadRole role) {
  return jail::confine_thread(syscall_rules(role),
                              role == ThreadRole::Vcpu ? vcpu_thread_requests() : loop_thread_requests());
}

}  // namespace sandforge::vmm
