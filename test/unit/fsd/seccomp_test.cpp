// SPDX-License-Identifier: Apache-2.0
#include "fsd/process/seccomp.hpp"
#include "jail/killed.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <string_view>

using namespace sandforge;
using fsd::ThreadRole;
using Check = jail::SyscallRule::Check;

namespace {

// Whether a thread of this role is killed for the call.
bool killed(ThreadRole role, long number, long second = -1, long third = -1, long fourth = -1) {
  return jail::test::killed([role] { return jail::confine_thread(fsd::syscall_rules(role)); }, number,
                            {-1, second, third, fourth});
}

}  // namespace

TEST_CASE("every system call outside a file server role's list kills the process, and none within it") {
  for (const ThreadRole role : {ThreadRole::Worker, ThreadRole::Control}) {
    const auto rules = fsd::syscall_rules(role);
    for (long number = 0; number < 500; ++number) {
      if (number == SYS_rt_sigreturn) continue;  // allowed, but a call of it out of the blue goes anywhere
      // uretprobe and uprobe: kernels that have them let no filter see them; they do nothing outside a probe.
      if (number == 335 || number == 336) continue;
      const auto rule = std::find_if(rules.begin(), rules.end(), [&](const auto& one) { return one.number == number; });
      const bool allowed = rule != rules.end() && rule->check == Check::None;
      INFO("call ", number, " of role ", static_cast<int>(role));
      // With all bits set as arguments, the checked calls are forbidden too. A poll of nothing would wait for ever.
      if (number == SYS_poll) {
        CHECK_FALSE(killed(role, number, 0, 0));
      } else {
        CHECK(killed(role, number) == !allowed);
      }
    }
    CHECK(killed(role, 0x40000000 | SYS_write));  // the x32 ABI
  }
}

TEST_CASE("checked calls of the file server are allowed with the right argument only") {
  for (const ThreadRole role : {ThreadRole::Worker, ThreadRole::Control}) {
    constexpr long kFresh = MAP_PRIVATE | MAP_ANONYMOUS;
    CHECK_FALSE(killed(role, SYS_mmap, 4096, PROT_READ | PROT_WRITE, kFresh));
    CHECK(killed(role, SYS_mmap, 4096, PROT_READ | PROT_EXEC, kFresh));
    CHECK(killed(role, SYS_mmap, 4096, PROT_READ, MAP_PRIVATE));
    CHECK(killed(role, SYS_mmap, 4096, PROT_READ | PROT_WRITE, MAP_SHARED));
    CHECK_FALSE(killed(role, SYS_mprotect, 4096, PROT_READ));
    CHECK(killed(role, SYS_mprotect, 4096, PROT_EXEC));
    CHECK(killed(role, SYS_madvise, 4096, MADV_HUGEPAGE));
    CHECK_FALSE(killed(role, SYS_madvise, 4096, MADV_DONTNEED));
    for (long command = 0; command < 2048; command += command < 20 ? 1 : 97) {
      INFO("fcntl ", command);
      CHECK(killed(role, SYS_fcntl, command));
    }
    CHECK(killed(role, SYS_fcntl, F_DUPFD_CLOEXEC) == (role == ThreadRole::Control));
    CHECK(killed(role, SYS_fcntl, F_SETFL));
    CHECK(killed(role, SYS_fcntl, F_SETOWN));
  }
}

TEST_CASE("the file server's lists stay within their budget and every rule has a reason") {
  for (const ThreadRole role : {ThreadRole::Worker, ThreadRole::Control}) {
    CHECK(fsd::syscall_rules(role).size() <= 40);
    for (const auto& rule : fsd::syscall_rules(role)) CHECK(std::string_view(rule.reason).size() >= 4);
  }
}
