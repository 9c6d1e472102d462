// SPDX-License-Identifier: Apache-2.0
#include "agent/reaper.hpp"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

namespace sandforge::agent {

base::Status Reaper::open() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  if (::sigprocmask(SIG_BLOCK, &set, nullptr) != 0) return base::os_error("sigprocmask");
  signals_.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) return base::os_error("signalfd");
  SANDFORGE_TRY_STATUS(loop_.add(signals_.get(), EPOLLIN, [this](std::uint32_t) { reap(); }));
  return {};
}

void Reaper::reap() {
  // One signal stands for any number of children: the queue is emptied first, then all of the dead are collected.
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof(info)) > 0) {
  }
  int status = 0;
  for (pid_t pid = 0; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
    const auto found = waiting_.find(pid);
    if (found == waiting_.end()) continue;
    const Ended ended = std::move(found->second);
    waiting_.erase(found);
    ended(status);
  }
}

}  // namespace sandforge::agent
