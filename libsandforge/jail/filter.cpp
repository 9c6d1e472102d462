// SPDX-License-Identifier: Apache-2.0
#include "jail/filter.hpp"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <vector>

namespace sandforge::jail {
namespace {

using Check = SyscallRule::Check;

sock_filter statement(std::uint16_t code, std::uint32_t value) { return {code, 0, 0, value}; }
sock_filter jump(std::uint16_t code, std::uint32_t value, std::size_t when_true, std::size_t when_false) {
  return {code, static_cast<std::uint8_t>(when_true), static_cast<std::uint8_t>(when_false), value};
}
sock_filter load(std::size_t offset) { return statement(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset)); }
// The low half of an argument: flags and ioctl requests have no more (the kernel truncates a request to 32 bits).
std::size_t argument(std::size_t index) { return offsetof(seccomp_data, args) + index * sizeof(std::uint64_t); }

constexpr std::uint32_t kProtExec = 4;

// What follows a matching number: ends in allow or kill.
std::vector<sock_filter> verdict(const SyscallRule& rule, std::span<const unsigned long> requests) {
  const sock_filter allow = statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  const sock_filter kill = statement(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  std::vector<sock_filter> program;
  switch (rule.check) {
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
      program.push_back(jump(BPF_JMP | BPF_JEQ | BPF_K, rule.value, 1, 0));
      program.push_back(kill);
      break;
    case Check::Command:
      program.push_back(load(argument(1)));
      program.push_back(jump(BPF_JMP | BPF_JEQ | BPF_K, rule.value, 1, 0));
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

std::vector<sock_filter> filter_program(std::span<const SyscallRule> rules, std::span<const unsigned long> requests) {
  const sock_filter kill = statement(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  std::vector<sock_filter> program = {
      load(offsetof(seccomp_data, arch)),
      jump(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
      kill,
      // Numbers of the x32 ABI have a high bit set and match no rule.
      load(offsetof(seccomp_data, nr)),
  };
  for (const SyscallRule& rule : rules) {
    const std::vector<sock_filter> then = verdict(rule, requests);
    program.push_back(jump(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(rule.number), 0, then.size()));
    program.insert(program.end(), then.begin(), then.end());
  }
  program.push_back(kill);
  return program;
}

}  // namespace

base::Status confine_thread(std::span<const SyscallRule> rules, std::span<const unsigned long> requests) {
  std::vector<sock_filter> program = filter_program(rules, requests);
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return base::os_error("give up new privileges");
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0) {
    return base::os_error("confine a thread");
  }
  return {};
}

}  // namespace sandforge::jail
