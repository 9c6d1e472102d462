// SPDX-License-Identifier: Apache-2.0
// The events of a device's descriptors, as the device loop would tell them, but one round at a time and never waiting.
#pragma once

#include <poll.h>

#include <map>
#include <memory>
#include <vector>

#include "vmm/devices/watcher.hpp"

namespace sandforge::vmm::test {

class PollWatcher final : public Watcher {
 public:
  base::Status add(int fd, std::uint32_t events, Callback callback) override {
    // What epoll_ctl says of a descriptor that it has already, and of one that it has not.
    if (entries_.count(fd) != 0) return base::make_error(base::Code::Internal, {}, "added twice");
    entries_[fd] = {events, std::make_shared<Callback>(std::move(callback))};
    return {};
  }
  base::Status modify(int fd, std::uint32_t events) override {
    if (entries_.count(fd) == 0) return base::make_error(base::Code::Internal, {}, "never added");
    entries_[fd].events = events;
    return {};
  }
  void remove(int fd) override { entries_.erase(fd); }

  // Tells what is ready now, once for each descriptor; how many were.
  int poll() {
    std::vector<pollfd> polled;
    for (const auto& [fd, entry] : entries_) polled.push_back({fd, static_cast<short>(entry.events), 0});
    if (::poll(polled.data(), polled.size(), 0) <= 0) return 0;
    int told = 0;
    for (const pollfd& one : polled) {
      const auto at = entries_.find(one.fd);  // an earlier callback may have removed it
      if (one.revents == 0 || at == entries_.end()) continue;
      const std::shared_ptr<Callback> callback = at->second.callback;  // it may remove itself
      ++told;
      (*callback)(static_cast<std::uint32_t>(one.revents));
    }
    return told;
  }
  // Tells every descriptor all that it waits for, ready or not; how many were told.
  int tell_all() {
    std::vector<int> all;
    for (const auto& [fd, entry] : entries_) all.push_back(fd);
    int told = 0;
    for (const int fd : all) {
      const auto at = entries_.find(fd);
      if (at == entries_.end()) continue;
      const std::shared_ptr<Callback> callback = at->second.callback;
      ++told;
      (*callback)(at->second.events);
    }
    return told;
  }
  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::uint32_t events = 0;
    std::shared_ptr<Callback> callback;
  };
  std::map<int, Entry> entries_;
};

}  // namespace sandforge::vmm::test
