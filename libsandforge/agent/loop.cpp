// SPDX-License-Identifier: Apache-2.0
#include "agent/loop.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

#include "agent/clock.hpp"

namespace sandforge::agent {

namespace {
constexpr int kRoundMax = 64;

std::uint64_t token_of(int fd, std::uint32_t generation) noexcept {
  return static_cast<std::uint64_t>(generation) << 32 | static_cast<std::uint32_t>(fd);
}
}  // namespace

base::Status Loop::open() {
  epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) return base::os_error("epoll_create1");
  wake_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_) return base::os_error("eventfd");
  return add(wake_.get(), EPOLLIN, [this](std::uint32_t) {
    std::uint64_t count = 0;
    [[maybe_unused]] const auto ignored = ::read(wake_.get(), &count, sizeof(count));
    std::vector<Task> tasks;
    {
      const std::lock_guard lock(posted_mutex_);
      tasks.swap(posted_);
    }
    for (Task& task : tasks) task();
  });
}

base::Status Loop::add(int fd, std::uint32_t events, Handler handler) {
  auto watch = std::make_shared<Watch>(Watch{next_generation_++, std::move(handler)});
  epoll_event event{};
  event.events = events;
  event.data.u64 = token_of(fd, watch->generation);
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return base::os_error("epoll_ctl");
  watches_[fd] = std::move(watch);
  return {};
}

void Loop::remove(int fd) {
  if (watches_.erase(fd) > 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void Loop::post(Task task) {
  {
    const std::lock_guard lock(posted_mutex_);
    posted_.push_back(std::move(task));
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto ignored = ::write(wake_.get(), &one, sizeof(one));
}

void Loop::dispatch(std::uint64_t token, std::uint32_t events) {
  const auto found = watches_.find(static_cast<int>(token & 0xffffffffU));
  if (found == watches_.end() || found->second->generation != token >> 32) return;
  const std::shared_ptr<Watch> alive = found->second;
  alive->handler(events);
}

void Loop::run_deferred() {
  while (!deferred_.empty()) {
    std::vector<Task> tasks;
    tasks.swap(deferred_);
    for (Task& task : tasks) task();
  }
}

void Loop::delay(int milliseconds, Task task) {
  delayed_ = std::move(task);
  delayed_until_ns_ = monotonic_ns() + std::int64_t{milliseconds} * 1'000'000;
}

// For epoll_wait, rounded up: it must not wake before its time and find nothing to do.
int Loop::sleep_ms() const {
  if (!delayed_) return -1;
  const std::int64_t left_ns = delayed_until_ns_ - monotonic_ns();
  return left_ns <= 0 ? 0 : static_cast<int>((left_ns + 999'999) / 1'000'000);
}

void Loop::run_delayed() {
  if (!delayed_ || monotonic_ns() < delayed_until_ns_) return;
  const Task task = std::exchange(delayed_, nullptr);
  task();
}

void Loop::run() {
  running_ = true;
  epoll_event events[kRoundMax];
  run_deferred();
  while (running_) {
    const int count = ::epoll_wait(epoll_.get(), events, kRoundMax, sleep_ms());
    for (int i = 0; i < count; ++i) dispatch(events[i].data.u64, events[i].events);
    run_deferred();
    run_delayed();
  }
}

}  // namespace sandforge::agent
