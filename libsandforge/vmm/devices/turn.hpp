// SPDX-License-Identifier: Apache-2.0
// One turn of a device at one of its queues: requests are served until there are none, or until others must be heard.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "vmm/virtio/device.hpp"

namespace sandforge::vmm {

struct Served {
  std::uint32_t written = 0;  // bytes that the device put into the request's writable buffers
  std::uint64_t cost = 0;     // bytes of work, as the device counts it
};

// Serves at most one queue's worth of requests, and none after `budget` bytes of work: a driver that keeps adding
// requests cannot hold the loop. What is left is asked for again by kick_again. `serve(const Chain&)` gives a
// base::Result<Served>.
template <typename Serve>
base::Status take_turn(Activation& active, std::size_t index, std::uint64_t budget, Serve serve) {
  Queue& queue = active.queues[index];
  std::uint64_t cost = 0;
  bool emptied = false;
  for (std::uint32_t turns = 0; turns < kQueueSizeMax && cost < budget; ++turns) {
    SANDFORGE_TRY(const std::optional<Chain> chain, queue.pop_or_ask());
    emptied = !chain;
    if (emptied) break;
    SANDFORGE_TRY(const Served served, serve(*chain));
    SANDFORGE_TRY_STATUS(queue.push(chain->head, served.written));
    cost += served.cost;
  }
  if (!emptied) active.interrupt->kick_again(index);
  SANDFORGE_TRY(const bool interrupt, queue.needs_interrupt());
  if (interrupt) active.interrupt->queues_used();
  return {};
}

}  // namespace sandforge::vmm
