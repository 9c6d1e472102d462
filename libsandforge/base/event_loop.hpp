// SPDX-License-Identifier: Apache-2.0
// EventLoop: one thread's loop of descriptors, timers and posted work. Asio behind a wall, so that no other file of the
// library pays for its headers.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "base/result.hpp"

namespace sandforge::base {

class EventLoop;

// Owner of a pending timer or a watched descriptor: destroying or resetting it ends the callbacks. Loop thread only.
class [[nodiscard]] Subscription {
 public:
  struct State;
  Subscription() = default;
  explicit Subscription(std::shared_ptr<State> state);
  Subscription(Subscription&&) noexcept = default;
  Subscription& operator=(Subscription&& other) noexcept;
  ~Subscription();

  void reset() noexcept;
  explicit operator bool() const noexcept { return state_ != nullptr; }

 private:
  std::shared_ptr<State> state_;
};

class EventLoop {
 public:
  using Task = std::function<void()>;

  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Runs callbacks on the calling thread until stop(); at once back when stop() came before. Work posted after stop()
  // waits for another run(), or is destroyed with the loop.
  void run();
  // Any thread.
  void stop();
  // Any thread: runs `task` on the loop thread, in the order of posting.
  void post(Task task);
  // Also on a thread whose turn it is by run_if_idle.
  bool in_loop_thread() const noexcept;
  // Any thread. When the loop sleeps and nothing waits for it, runs `task` on the calling thread, as if it were the
  // loop's: no other callback runs meanwhile. It saves a hand-over, so `task` should be as short as one. False when it
  // did not run, also when `allowed`, asked within that turn, says no. May wait for nothing.
  bool run_if_idle(const std::function<bool()>& allowed, const Task& task);
  // Whether this is such a turn: callbacks that belong on the loop's thread are to be posted.
  bool in_callers_turn() const noexcept;
  // Loop thread only: runs `task` right after the callback that is running, before any other; without the look at the
  // descriptors, a system call, that comes before posted work.
  void defer(Task task);

  // Loop thread only, these three. `task` runs once, on the loop thread.
  Subscription after(std::chrono::milliseconds delay, Task task);
  // `task` runs whenever `fd` is readable (or writable), again and again until the subscription ends: level-triggered.
  // The descriptor stays the caller's and must outlive the subscription. At most one of each kind a descriptor.
  Subscription on_readable(int fd, Task task);
  Subscription on_writable(int fd, Task task);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sandforge::base
