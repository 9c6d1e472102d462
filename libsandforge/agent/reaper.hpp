// SPDX-License-Identifier: Apache-2.0
// Reaper: collects every dead child of PID 1, orphans included, and tells who waits for one. Loop thread only.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>

#include "agent/loop.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::agent {

class Reaper {
 public:
  using Ended = std::function<void(int wait_status)>;

  explicit Reaper(Loop& loop) : loop_(loop) {}
  ~Reaper() {
    if (signals_) loop_.remove(signals_.get());
  }

  // Blocks SIGCHLD for this thread and those made later. Before any other thread is made.
  base::Status open();
  // `ended` runs once, in a later round of the loop. A pid is known from clone to here without a race, since only this
  // object waits for children and it runs on the same thread.
  void expect(pid_t pid, Ended ended) { waiting_[pid] = std::move(ended); }
  void forget(pid_t pid) { waiting_.erase(pid); }

 private:
  void reap();

  Loop& loop_;
  base::UniqueFd signals_;
  std::map<pid_t, Ended> waiting_;
};

}  // namespace sandforge::agent
