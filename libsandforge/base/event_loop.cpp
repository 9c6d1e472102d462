// SPDX-License-Identifier: Apache-2.0
#include "base/event_loop.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <atomic>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace sandforge::base {

struct Subscription::State {
  virtual ~State() = default;
  virtual void cancel() noexcept = 0;
};

namespace {

// Whose turn it is: every handler of the loop holds the mutex from its first step to its last, destructors included. It
// is the loop's own, but for the moments in which a caller takes a turn of an idle loop.
struct Turns {
  // Under the mutex: a callback, then what was deferred by it.
  void run(const EventLoop::Task& callback) {
    running = true;
    callback();
    while (!deferred.empty()) {
      for (const EventLoop::Task& task : std::exchange(deferred, {})) task();
    }
    running = false;
  }

  std::mutex mutex;
  std::atomic<std::size_t> posted{0};         // and not begun yet
  std::atomic<std::thread::id> guest_thread;  // of a caller that has its turn
  // Under the mutex.
  bool running = false;
  std::vector<EventLoop::Task> deferred;
};

struct TimerState final : Subscription::State, std::enable_shared_from_this<TimerState> {
  TimerState(asio::io_context& context, Turns& loop_turns, EventLoop::Task callback)
      : timer(context), turns(loop_turns), task(std::move(callback)) {}

  void arm(std::chrono::milliseconds delay) {
    timer.expires_after(delay);
    timer.async_wait([self = shared_from_this()](const asio::error_code& error) {
      const std::lock_guard turn(self->turns.mutex);
      if (error || !self->task) return;
      // Moved out first: the callback may destroy its own subscription.
      const EventLoop::Task callback = std::move(self->task);
      self->task = nullptr;
      self->turns.run(callback);
    });
  }
  void cancel() noexcept override {
    task = nullptr;
    timer.cancel();
  }

  asio::steady_timer timer;
  Turns& turns;
  EventLoop::Task task;
};

// Asio registers a descriptor once per object, so each watch owns a duplicate: two watches of one socket (readable,
// writable) then end independently, and closing order does not matter.
struct WatchState final : Subscription::State, std::enable_shared_from_this<WatchState> {
  using Wait = asio::posix::descriptor_base::wait_type;

  WatchState(asio::io_context& context, Turns& loop_turns, int fd, Wait kind, EventLoop::Task callback)
      : turns(loop_turns), wait(kind), task(std::move(callback)) {
    const int duplicate = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
    asio::error_code error;
    descriptor.emplace(context);
    if (duplicate >= 0) descriptor->assign(duplicate, error);
  }

  void arm() {
    if (!descriptor || !descriptor->is_open()) return;
    descriptor->async_wait(wait, [self = shared_from_this()](const asio::error_code& error) {
      const std::lock_guard turn(self->turns.mutex);
      if (error || !self->task) return;
      // A copy: the callback may destroy its own subscription, and with it the original.
      const EventLoop::Task callback = self->task;
      self->turns.run(callback);
      if (self->task) self->arm();
    });
  }
  void cancel() noexcept override {
    task = nullptr;
    asio::error_code ignored;
    descriptor->close(ignored);
  }

  Turns& turns;
  Wait wait;
  EventLoop::Task task;
  std::optional<asio::posix::stream_descriptor> descriptor;
};

}  // namespace

Subscription::Subscription(std::shared_ptr<State> state) : state_(std::move(state)) {}
Subscription::~Subscription() { reset(); }
Subscription& Subscription::operator=(Subscription&& other) noexcept {
  if (this != &other) {
    reset();
    state_ = std::move(other.state_);
  }
  return *this;
}
void Subscription::reset() noexcept {
  if (const auto state = std::move(state_)) state->cancel();
}

struct EventLoop::Impl {
  Turns turns;  // outlives the context, whose last handlers may still refer to it
  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
  std::atomic<std::thread::id> thread;
};

EventLoop::EventLoop() : impl_(std::make_unique<Impl>()) {}
EventLoop::~EventLoop() = default;

void EventLoop::run() {
  impl_->thread = std::this_thread::get_id();
  impl_->context.run();
  impl_->thread = std::thread::id();
  impl_->context.restart();  // only now: a stop() that came before run() must not be lost
}
void EventLoop::stop() { impl_->context.stop(); }
void EventLoop::post(Task task) {
  ++impl_->turns.posted;
  asio::post(impl_->context, [turns = &impl_->turns, task = std::move(task)]() mutable {
    const std::lock_guard turn(turns->mutex);
    --turns->posted;
    const Task own = std::move(task);
    turns->run(own);
  });
}
bool EventLoop::run_if_idle(const std::function<bool()>& allowed, const Task& task) {
  Turns& turns = impl_->turns;
  if (in_loop_thread() || turns.posted != 0 || !turns.mutex.try_lock()) return false;
  const std::lock_guard turn(turns.mutex, std::adopt_lock);
  // Again: what was posted meanwhile may have to come first.
  if (turns.posted != 0 || !allowed()) return false;
  turns.guest_thread = std::this_thread::get_id();
  turns.run(task);
  turns.guest_thread = std::thread::id();
  return true;
}
void EventLoop::defer(Task task) {
  if (!impl_->turns.running) return post(std::move(task));  // before run()
  impl_->turns.deferred.push_back(std::move(task));
}
bool EventLoop::in_loop_thread() const noexcept {
  return impl_->thread == std::this_thread::get_id() || in_callers_turn();
}
bool EventLoop::in_callers_turn() const noexcept { return impl_->turns.guest_thread == std::this_thread::get_id(); }

Subscription EventLoop::after(std::chrono::milliseconds delay, Task task) {
  auto state = std::make_shared<TimerState>(impl_->context, impl_->turns, std::move(task));
  state->arm(delay);
  return Subscription(std::move(state));
}

Subscription EventLoop::on_readable(int fd, Task task) {
  auto state =
      std::make_shared<WatchState>(impl_->context, impl_->turns, fd, WatchState::Wait::wait_read, std::move(task));
  state->arm();
  return Subscription(std::move(state));
}

Subscription EventLoop::on_writable(int fd, Task task) {
  auto state =
      std::make_shared<WatchState>(impl_->context, impl_->turns, fd, WatchState::Wait::wait_write, std::move(task));
  state->arm();
  return Subscription(std::move(state));
}

}  // namespace sandforge::base
