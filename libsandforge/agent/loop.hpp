// SPDX-License-Identifier: Apache-2.0
// Loop: the agent's one epoll loop. Everything of the protocol and of tasks runs on its thread and never blocks.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::agent {

class Loop {
 public:
  using Handler = std::function<void(std::uint32_t events)>;
  using Task = std::function<void()>;

  Loop() = default;
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  base::Status open();

  // The descriptor is borrowed until remove(). One watch for each descriptor.
  base::Status add(int fd, std::uint32_t events, Handler handler);
  // Safe inside a handler, its own included: events of this round that are still to come are dropped.
  void remove(int fd);
  bool has(int fd) const { return watches_.contains(fd); }

  // Runs after the handlers of this round. Loop thread.
  void defer(Task task) { deferred_.push_back(std::move(task)); }
  // Runs once when `milliseconds` have passed, if not taken back before. One at a time: a later one replaces it. No
  // descriptor and no system call: it is how long the loop sleeps. Loop thread.
  void delay(int milliseconds, Task task);
  void cancel_delayed() noexcept { delayed_ = nullptr; }
  // Runs on the loop's thread soon. Any thread.
  void post(Task task);

  void run();
  void stop() noexcept { running_ = false; }

 private:
  struct Watch {
    std::uint32_t generation;
    Handler handler;
  };

  void dispatch(std::uint64_t token, std::uint32_t events);
  void run_deferred();
  int sleep_ms() const;
  void run_delayed();

  base::UniqueFd epoll_;
  base::UniqueFd wake_;
  // shared_ptr: a handler that removes itself lives until it returns.
  std::map<int, std::shared_ptr<Watch>> watches_;
  std::uint32_t next_generation_ = 1;
  std::vector<Task> deferred_;
  Task delayed_;
  std::int64_t delayed_until_ns_ = 0;
  std::mutex posted_mutex_;
  std::vector<Task> posted_;  // under posted_mutex_
  bool running_ = false;
};

}  // namespace sandforge::agent
