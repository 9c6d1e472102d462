// SPDX-License-Identifier: Apache-2.0
// How a device that talks to descriptors of the host is told of their events. Implemented by the device loop.
#pragma once

#include <cstdint>
#include <functional>

#include "base/result.hpp"

namespace sandforge::vmm {

// Device loop thread only. Events are those of epoll(7), level-triggered; a callback may remove any descriptor.
class Watcher {
 public:
  using Callback = std::function<void(std::uint32_t events)>;
  virtual ~Watcher() = default;
  virtual base::Status add(int fd, std::uint32_t events, Callback callback) = 0;
  virtual base::Status modify(int fd, std::uint32_t events) = 0;
  virtual void remove(int fd) = 0;
};

}  // namespace sandforge::vmm
