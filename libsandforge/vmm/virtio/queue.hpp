// SPDX-License-Identifier: Apache-2.0
// The device's side of one split virtqueue (virtio 1.2, section 2.7). Everything that the guest wrote is copied once,
// the copy is checked, and nothing is believed about the next read.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/limits.hpp"
#include "base/result.hpp"
#include "vmm/memory/guest_memory.hpp"

namespace sandforge::vmm {

inline constexpr std::uint16_t kQueueSizeMax = limits::kVirtqueueSizeMax;

// One buffer of a chain, already checked to lie in guest memory.
struct Buffer {
  GuestAddress address;
  std::uint32_t length = 0;
};

// A request: what the device may read, then what it may write.
struct Chain {
  std::uint16_t head = 0;
  std::vector<Buffer> readable;
  std::vector<Buffer> writable;

  std::uint64_t readable_bytes() const noexcept;
  std::uint64_t writable_bytes() const noexcept;
};

// What the driver configured; latched when the device is activated, changed by a reset only.
struct QueueLayout {
  std::uint16_t size = 0;  // entries, a power of two up to kQueueSizeMax
  GuestAddress descriptors, available, used;
  bool event_index = false;  // VIRTIO_F_EVENT_IDX
};

// One thread: the device loop.
class Queue {
 public:
  // Checks the layout: size, alignment (2.7: 16, 2, 4), and that each ring lies in guest memory.
  static base::Result<Queue> open(const GuestMemory& memory, const QueueLayout& layout);

  // The next request, or nothing. Corrupt (the device then needs a reset, 2.1.2): an index that runs ahead by more than
  // the queue holds, a descriptor number out of range, a chain longer than the queue (a loop), a writable buffer before
  // a readable one, an indirect descriptor (never offered), a buffer outside guest memory, more than 4 GiB in all.
  base::Result<std::optional<Chain>> pop();
  // The same; when there was nothing, the driver kicks for its next request.
  base::Result<std::optional<Chain>> pop_or_ask();
  // Gives a request back; `written` bytes were put into its writable buffers.
  base::Status push(std::uint16_t head, std::uint32_t written);
  // True when the driver wants to be interrupted for what was pushed since the last call.
  base::Result<bool> needs_interrupt();
  // Asks for a kick at the next request. Whoever calls it must pop once more: a request may have come in between.
  base::Status want_kicks();

  std::uint16_t size() const noexcept { return layout_.size; }

 private:
  Queue(const GuestMemory& memory, const QueueLayout& layout) : memory_(&memory), layout_(layout) {}

  base::Result<Chain> walk(std::uint16_t head) const;

  const GuestMemory* memory_;  // outlives the queue
  QueueLayout layout_;
  std::uint16_t next_available_ = 0;
  std::uint16_t next_used_ = 0;
  std::uint16_t signalled_used_ = 0;  // next_used_ at the last needs_interrupt
};

}  // namespace sandforge::vmm
