// SPDX-License-Identifier: Apache-2.0
// The system call filter, run by a small interpreter of classic BPF: what is refused, and that all else is not.
#include "agent/seccomp_filter.hpp"

#include <doctest/doctest.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstring>
#include <set>

using namespace sandforge;

namespace {
#if defined(__x86_64__)
constexpr std::uint32_t kHere = AUDIT_ARCH_X86_64, kOther = AUDIT_ARCH_I386;
#else
constexpr std::uint32_t kHere = AUDIT_ARCH_AARCH64, kOther = AUDIT_ARCH_ARM;
#endif

// 0: allowed, else the errno.
int judge(std::uint32_t architecture, long number, std::uint64_t first_argument = 0) {
  static const std::vector<sock_filter> code = agent::build_filter();
  seccomp_data data{};
  data.arch = architecture;
  data.nr = static_cast<int>(number);
  data.args[0] = first_argument;
  std::uint32_t accumulator = 0;
  for (std::size_t at = 0; at < code.size(); ++at) {
    const sock_filter& step = code[at];
    bool holds = false;
    switch (step.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        std::memcpy(&accumulator, reinterpret_cast<const char*>(&data) + step.k, sizeof(accumulator));
        continue;
      case BPF_RET | BPF_K:
        if (step.k == SECCOMP_RET_ALLOW) return 0;
        REQUIRE((step.k & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ERRNO);
        return static_cast<int>(step.k & SECCOMP_RET_DATA);
      case BPF_JMP | BPF_JEQ | BPF_K: holds = accumulator == step.k; break;
      case BPF_JMP | BPF_JGE | BPF_K: holds = accumulator >= step.k; break;
      case BPF_JMP | BPF_JSET | BPF_K: holds = (accumulator & step.k) != 0; break;
      default: FAIL("an instruction that the filter should not need");
    }
    at += holds ? step.jt : step.jf;
  }
  FAIL("the filter runs off its end");
  return -1;
}
}  // namespace

TEST_CASE("every call of the table is refused with its error, once, and has a reason") {
  std::set<long> seen;
  for (const agent::DeniedCall& call : agent::denied_calls()) {
    CAPTURE(call.name);
    CHECK(judge(kHere, call.number) == call.error);
    CHECK(seen.insert(call.number).second);
    CHECK(std::strlen(call.reason) > 5);
  }
}

TEST_CASE("every call beyond the table is allowed") {
  std::set<long> denied;
  for (const agent::DeniedCall& call : agent::denied_calls()) denied.insert(call.number);
  for (long number = 0; number < 500; ++number) {
    CAPTURE(number);
    if (!denied.contains(number)) CHECK(judge(kHere, number) == 0);
  }
}

TEST_CASE("new namespaces by clone are refused, threads and processes are not") {
  CHECK(judge(kHere, SYS_clone, SIGCHLD) == 0);
  CHECK(judge(kHere, SYS_clone, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM) == 0);
  for (const std::uint64_t flag : std::initializer_list<std::uint64_t>{
           CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP}) {
    CHECK(judge(kHere, SYS_clone, flag | SIGCHLD) == EPERM);
  }
  CHECK(judge(kHere, SYS_clone3) == ENOSYS);
}

TEST_CASE("sockets to the host are refused, others are not") {
  CHECK(judge(kHere, SYS_socket, AF_VSOCK) == EAFNOSUPPORT);
  CHECK(judge(kHere, SYS_socket, AF_INET) == 0);
  CHECK(judge(kHere, SYS_socket, AF_UNIX) == 0);
}

TEST_CASE("calls of another architecture are unknown, whatever their number") {
  for (long number = 0; number < 500; ++number) CHECK(judge(kOther, number) == ENOSYS);
#if defined(__x86_64__)
  CHECK(judge(kHere, 0x40000000L + SYS_getpid) == ENOSYS);
#endif
}
