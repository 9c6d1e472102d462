// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "vmm/hypervisor/hypervisor.hpp"
#include "vmm/jail/seccomp.hpp"

using namespace sandforge;
using vmm::ThreadRole;

namespace {

// Whether a thread of this role is killed for the call; what the call answers otherwise does not matter.
bool killed(ThreadRole role, long number, long second = -1, long third = -1) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (!vmm::confine_thread(role)) ::syscall(SYS_exit_group, 2);
    ::syscall(number, -1, second, third, -1, -1, -1);
    ::syscall(SYS_exit_group, 0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  const bool confined = !WIFEXITED(status) || WEXITSTATUS(status) != 2;
  CHECK(confined);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
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
    CHECK_FALSE(killed(role, SYS_mmap, 4096, PROT_READ | PROT_WRITE));
    CHECK(killed(role, SYS_mmap, 4096, PROT_READ | PROT_EXEC));
    CHECK_FALSE(killed(role, SYS_mprotect, 4096, PROT_READ));
    CHECK(killed(role, SYS_mprotect, 4096, PROT_EXEC));
  }
}

TEST_CASE("the lists stay within their budgets and every rule has a reason") {
  CHECK(vmm::syscall_rules(ThreadRole::Vcpu).size() <= 12);
  CHECK(vmm::syscall_rules(ThreadRole::Loop).size() <= 24);
  for (const ThreadRole role : {ThreadRole::Vcpu, ThreadRole::Loop}) {
    for (const auto& rule : vmm::syscall_rules(role)) CHECK(std::string_view(rule.reason).size() > 8);
  }
}
