// SPDX-License-Identifier: Apache-2.0
// The monitor's event loop: epoll and nothing else, so that its system calls can be counted on one hand. The library's
// own loop is not used here: its dependency would bring calls that the jail forbids.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "vmm/devices/watcher.hpp"

namespace sandforge::vmm {

// One thread: the one that calls run().
class Loop final : public Watcher {
 public:
  static base::Result<std::unique_ptr<Loop>> create();

  // Level-triggered unless `events` says otherwise. The descriptor stays the caller's, who removes it before closing.
  base::Status add(int fd, std::uint32_t events, Callback callback) override;
  base::Status modify(int fd, std::uint32_t events) override;
  // Callable from any callback, also its own; no event of `fd` is told afterwards.
  void remove(int fd) override;

  // Until stop(), which may come first; may be called again. Errors: of epoll_wait.
  base::Status run();
  void stop() noexcept { stopped_ = true; }

 private:
  explicit Loop(base::UniqueFd epoll) : epoll_(std::move(epoll)) {}

  base::UniqueFd epoll_;
  // By number, not by descriptor: an event fetched before a remove() must not reach the descriptor's successor.
  std::unordered_map<std::uint64_t, std::shared_ptr<Callback>> callbacks_;
  std::unordered_map<int, std::uint64_t> numbers_;
  std::uint64_t next_number_ = 1;
  bool stopped_ = false;
};

}  // namespace sandforge::vmm
