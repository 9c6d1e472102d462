// SPDX-License-Identifier: Apache-2.0
// Whether a filter kills: one system call of a child that was confined for it.
#pragma once

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include <doctest/doctest.h>

namespace sandforge::jail::test {

// `confine` installs the filter (a base::Status). What the call answers does not matter; the arguments that are not
// given have all bits set.
template <typename Confine>
bool killed(Confine confine, long number, std::array<long, 4> arguments = {-1, -1, -1, -1}) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (!confine()) ::syscall(SYS_exit_group, 2);
    ::syscall(number, arguments[0], arguments[1], arguments[2], arguments[3], -1, -1);
    ::syscall(SYS_exit_group, 0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  const bool confined = !WIFEXITED(status) || WEXITSTATUS(status) != 2;
  CHECK(confined);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

}  // namespace sandforge::jail::test
