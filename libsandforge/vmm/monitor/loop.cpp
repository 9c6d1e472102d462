// SPDX-License-Identifier: Apache-2.0
#include "vmm/monitor/loop.hpp"

#include <sys/epoll.h>

#include <array>

namespace sandforge::vmm {

base::Result<std::unique_ptr<Loop>> Loop::create() {
  base::UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return base::os_error("make an event queue");
  return std::unique_ptr<Loop>(new Loop(std::move(epoll)));
}

base::Status Loop::add(int fd, std::uint32_t events, Callback callback) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = next_number_;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return base::os_error("watch a descriptor");
  callbacks_[next_number_] = std::make_shared<Callback>(std::move(callback));
  numbers_[fd] = next_number_++;
  return {};
}

base::Status Loop::modify(int fd, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = numbers_[fd];
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) != 0) return base::os_error("watch a descriptor");
  return {};
}

void Loop::remove(int fd) {
  const auto at = numbers_.find(fd);
  if (at == numbers_.end()) return;
  callbacks_.erase(at->second);
  numbers_.erase(at);
  (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

base::Status Loop::run() {
  std::array<epoll_event, 32> events;
  while (!stopped_) {
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
    if (count < 0 && errno != EINTR) return base::os_error("wait for events");
    for (int i = 0; i < count && !stopped_; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      const std::uint64_t number = event.data.u64;  // a copy: the struct is packed, and find() takes a reference
      const auto at = callbacks_.find(number);
      if (at == callbacks_.end()) continue;
      const std::shared_ptr<Callback> callback = at->second;  // it may remove itself
      (*callback)(event.events);
    }
  }
  stopped_ = false;
  return {};
}

}  // namespace sandforge::vmm
