// SPDX-License-Identifier: Apache-2.0
#include "vmm/jail/seccomp.hpp"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <vector>

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
    {SYS_tgkill, Check::Kick, "pause: interrupt a vCPU in the guest"},
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

sock_filter statement(std::uint16_t code, std::uint32_t value) { return {code, 0, 0, value}; }
sock_filter jump(std::uint16_t code, std::uint32_t value, std::size_t when_true, std::size_t when_false) {
  return {code, static_cast<std::uint8_t>(when_true), static_cast<std::uint8_t>(when_false), value};
}
sock_filter load(std::size_t offset) { return statement(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset)); }
// The low half of an argument: flags and ioctl requests have no more (the kernel truncates a request to 32 bits).
std::size_t argument(std::size_t index) { return offsetof(seccomp_data, args) + index * sizeof(std::uint64_t); }

constexpr std::uint32_t kProtExec = 4;

// What follows a matching number: ends in allow or kill.
std::vector<sock_filter> verdict(Check check, std::span<const unsigned long> requests) {
  const sock_filter allow = statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  const sock_filter kill = statement(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  std::vector<sock_filter> program;
  switch (check) {
    case Check::None: break;
    case Check::NoExecutable:
      program.push_back(load(argument(2)));
      program.push_back(jump(BPF_JMP | BPF_JSET | BPF_K, kProtExec, 0, 1));
      program.push_back(kill);
      break;
    case Check::FreshMemory:
      program.push_back(load(argument(2)));
      program.push_back(jump(BPF_JMP | BPF_JSET | BPF_K, kProtExec, 2, 0));
      program.push_back(load(argument(3)));
      program.push_back(jump(BPF_JMP | BPF_JSET | BPF_K, MAP_ANONYMOUS, 1, 0));
      program.push_back(kill);
      break;
    case Check::GiveBack:
      program.push_back(load(argument(2)));
      program.push_back(jump(BPF_JMP | BPF_JEQ | BPF_K, MADV_DONTNEED, 1, 0));
      program.push_back(kill);
      break;
    case Check::Kick:
      program.push_back(load(argument(0)));
      program.push_back(jump(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(::getpid()), 0, 2));
      program.push_back(load(argument(2)));
      program.push_back(jump(BPF_JMP | BPF_JEQ | BPF_K, kKickSignal, 1, 0));
      program.push_back(kill);
      break;
    case Check::KnownRequest:
      program.push_back(load(argument(1)));
      for (std::size_t i = 0; i < requests.size(); ++i) {
        program.push_back(
            jump(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(requests[i]), requests.size() - i, 0));
      }
      program.push_back(kill);
      break;
  }
  program.push_back(allow);
  return program;
}

std::vector<sock_filter> filter_program(ThreadRole role) {
  const sock_filter kill = statement(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  std::vector<sock_filter> program = {
      load(offsetof(seccomp_data, arch)),
      jump(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
      kill,
      // Numbers of the x32 ABI have a high bit set and match no rule.
      load(offsetof(seccomp_data, nr)),
  };
  const auto requests = role == ThreadRole::Vcpu ? vcpu_thread_requests() : loop_thread_requests();
  for (const SyscallRule& rule : syscall_rules(role)) {
    const std::vector<sock_filter> then = verdict(rule.check, requests);
    program.push_back(jump(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(rule.number), 0, then.size()));
    program.insert(program.end(), then.begin(), then.end());
  }
  program.push_back(kill);
  return program;
}

}  // namespace

std::span<const SyscallRule> syscall_rules(ThreadRole role) {
  if (role == ThreadRole::Vcpu) return kVcpuRules;
  return kLoopRules;
}

base::Status confine_thread(ThreadRole role) {
  std::vector<sock_filter> program = filter_program(role);
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return base::os_error("give up new privileges");
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0) {
    return base::os_error("confine a thread");
  }
  return {};
}

}  // namespace sandforge::vmm
