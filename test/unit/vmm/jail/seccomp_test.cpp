// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "jail/killed.hpp"
#include "vmm/hypervisor/hypervisor.hpp"
#include "vmm/jail/seccomp.hpp"

using namespace sandforge;
using vmm::ThreadRole;

namespace {

// Whether a thread of this role is killed for the call.
bool killed(ThreadRole role, long number, long second = -1, long third = -1, long fourth = -1) {
  return jail::test::killed([role] { return vmm::confine_thread(role); }, number, {-1, second, third, fourth});
}

}  // namespace

TEST_CASE("every system call outside a role's list kills the process, and none within it") {
  for (const ThreadRole role : {ThreadRole::Vcpu, ThreadRole::Loop}) {
    const auto rules = vmm::syscall_rules(role);
    for (long number = 0; number < 500; ++number) {
      if (number == SYS_rt_sigreturn) continue;  // allowed, but a call of it out of the blue goes anywhere
      // uretprobe and uprobe: kernels that have them let no filter see them; they do nothing outside a probe.
      if (number == 335 || number == 336) continue;
      const auto rule = std::find_if(rules.begin(), rules.end(), [&](const auto& one) { return one.number == number; });
      const bool allowed = rule != rules.end() && rule->check == vmm::SyscallRule::Check::None;
      INFO("call ", number, " of role ", static_cast<int>(role));
      // With all bits set as arguments, the checked calls are forbidden too.
      CHECK(killed(role, number) == !allowed);
    }
    CHECK(killed(role, 0x40000000 | SYS_write));  // the x32 ABI
  }
}

TEST_CASE("checked calls are allowed with the right argument only") {
  for (const ThreadRole role : {ThreadRole::Vcpu, ThreadRole::Loop}) {
    const bool vcpu = role == ThreadRole::Vcpu;
    for (const unsigned long request : vmm::vcpu_thread_requests()) {
      CHECK(killed(role, SYS_ioctl, static_cast<long>(request)) == !vcpu);
    }
    for (const unsigned long request : vmm::loop_thread_requests()) {
      CHECK(killed(role, SYS_ioctl, static_cast<long>(request)) == vcpu);
    }
    constexpr long kFresh = MAP_PRIVATE | MAP_ANONYMOUS;
    CHECK_FALSE(killed(role, SYS_mmap, 4096, PROT_READ | PROT_WRITE, kFresh));
    CHECK_FALSE(killed(role, SYS_mmap, 4096, PROT_NONE, kFresh | MAP_NORESERVE));
    CHECK(killed(role, SYS_mmap, 4096, PROT_READ | PROT_EXEC, kFresh));
    CHECK(killed(role, SYS_mmap, 4096, PROT_EXEC, MAP_PRIVATE));
    CHECK(killed(role, SYS_mmap, 4096, PROT_READ, MAP_PRIVATE));
    CHECK(killed(role, SYS_mmap, 4096, PROT_READ | PROT_WRITE, MAP_SHARED));
    CHECK_FALSE(killed(role, SYS_mprotect, 4096, PROT_READ));
    CHECK(killed(role, SYS_mprotect, 4096, PROT_EXEC));
    CHECK(killed(role, SYS_mprotect, 4096, PROT_READ | PROT_WRITE | PROT_EXEC));
  }
}

TEST_CASE("an ioctl request is judged by its 32 bits, however it is dressed, and all others kill") {
  for (const ThreadRole role : {ThreadRole::Vcpu, ThreadRole::Loop}) {
    const auto allowed = role == ThreadRole::Vcpu ? vmm::vcpu_thread_requests() : vmm::loop_thread_requests();
    for (const unsigned long request : allowed) {
      CHECK_FALSE(killed(role, SYS_ioctl, static_cast<long>(request | 1ul << 40)));  // the kernel drops the upper half
      CHECK(killed(role, SYS_ioctl, static_cast<long>(request ^ 1)));
    }
    // All of KVM's own, by number, as _IO: none but KVM_RUN, and that for a vCPU thread only.
    for (long number = 0; number < 256; ++number) {
      const long request = 0xae00 | number;
      const bool known =
          std::find(allowed.begin(), allowed.end(), static_cast<unsigned long>(request)) != allowed.end();
      CHECK(killed(role, SYS_ioctl, request) == !known);
    }
    CHECK(killed(role, SYS_ioctl, 0x5412));  // TIOCSTI
  }
}

TEST_CASE("the loop may send the kick signal to a thread of its own process, and no other signal to anybody") {
  enum Target { Own, Parent };
  const auto forbidden = [](ThreadRole role, Target target, int number) {
    const pid_t child = ::fork();
    if (child == 0) {
      (void)std::signal(vmm::kKickSignal, SIG_IGN);
      const long process = target == Own ? ::getpid() : ::getppid(), thread = target == Own ? ::gettid() : process;
      if (!vmm::confine_thread(role)) ::syscall(SYS_exit_group, 2);
      ::syscall(SYS_tgkill, process, thread, number);
      ::syscall(SYS_exit_group, 0);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    const bool by_filter = WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
    const bool unharmed = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    CHECK((by_filter || unharmed));  // and not by the signal itself
    return by_filter;
  };
  CHECK_FALSE(forbidden(ThreadRole::Loop, Own, vmm::kKickSignal));
  for (const int number : {SIGKILL, SIGSTOP, SIGTERM, 0}) CHECK(forbidden(ThreadRole::Loop, Own, number));
  for (const int number : {vmm::kKickSignal, SIGCONT, 0}) CHECK(forbidden(ThreadRole::Loop, Parent, number));
  CHECK(forbidden(ThreadRole::Vcpu, Own, vmm::kKickSignal));
}

TEST_CASE("memory can be given back by madvise, and nothing else done with it") {
  for (const ThreadRole role : {ThreadRole::Vcpu, ThreadRole::Loop}) {
    for (long advice = 0; advice < 128; ++advice) {
      INFO("advice ", advice);
      CHECK(killed(role, SYS_madvise, 4096, advice) == (advice != MADV_DONTNEED));
    }
  }
}

TEST_CASE("a call by another ABI of the CPU is not answered") {
  for (const ThreadRole role : {ThreadRole::Vcpu, ThreadRole::Loop}) {
    for (const long number : {SYS_write, SYS_ioctl, SYS_futex, SYS_exit_group, SYS_execve}) {
      CHECK(killed(role, 0x40000000 | number));  // x32
    }
    const pid_t child = ::fork();
    if (child == 0) {
      if (!vmm::confine_thread(role)) ::syscall(SYS_exit_group, 2);
      long result = 20;  // getpid of the 32-bit table, where the same number is something else
      asm volatile("int $0x80" : "+a"(result) : : "memory");
      ::syscall(SYS_exit_group, 0);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    // By the filter, or by a kernel that has no 32-bit calls at all.
    const bool refused = WIFSIGNALED(status) && (WTERMSIG(status) == SIGSYS || WTERMSIG(status) == SIGSEGV);
    CHECK(refused);
  }
}

TEST_CASE("the lists stay within their budgets and every rule has a reason") {
  CHECK(vmm::syscall_rules(ThreadRole::Vcpu).size() <= 12);
  CHECK(vmm::syscall_rules(ThreadRole::Loop).size() <= 24);
  for (const ThreadRole role : {ThreadRole::Vcpu, ThreadRole::Loop}) {
    for (const auto& rule : vmm::syscall_rules(role)) CHECK(std::string_view(rule.reason).size() > 8);
  }
}
