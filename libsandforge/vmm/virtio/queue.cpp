// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/queue.hpp"

#include <atomic>
#include <bit>
#include <string>

namespace sandforge::vmm {
namespace {

// SPEC: virtio 1.2, 2.7.5 (descriptor), 2.7.6 (available ring), 2.7.8 (used ring).
struct Descriptor {
  std::uint64_t address;
  std::uint32_t length;
  std::uint16_t flags;
  std::uint16_t next;
};
static_assert(sizeof(Descriptor) == 16);
constexpr std::uint16_t kNext = 1, kWrite = 2, kIndirect = 4;
constexpr std::uint16_t kNoInterrupt = 1;  // available.flags

struct UsedElement {
  std::uint32_t id;
  std::uint32_t length;
};

base::Error broken(const char* what) {
  return base::make_error(base::Code::Corrupt, "bad_ring", std::string("virtqueue: ") + what);
}

std::uint64_t sum(const std::vector<Buffer>& buffers) {
  std::uint64_t total = 0;
  for (const Buffer& buffer : buffers) total += buffer.length;
  return total;
}

}  // namespace

std::uint64_t Chain::readable_bytes() const noexcept { return sum(readable); }
std::uint64_t Chain::writable_bytes() const noexcept { return sum(writable); }

base::Result<Queue> Queue::open(const GuestMemory& memory, const QueueLayout& layout) {
  const std::uint64_t size = layout.size;
  if (!std::has_single_bit(size) || size > kQueueSizeMax) return broken("size is no power of two up to 256");
  if (layout.descriptors.value % 16 != 0 || layout.available.value % 2 != 0 || layout.used.value % 4 != 0) {
    return broken("rings are not aligned");
  }
  // Both rings end with the two bytes of the event index, whether it was negotiated or not.
  if (!memory.contains(layout.descriptors, 16 * size) || !memory.contains(layout.available, 6 + 2 * size) ||
      !memory.contains(layout.used, 6 + 8 * size)) {
    return broken("rings do not lie in guest memory");
  }
  return Queue(memory, layout);
}

base::Result<Chain> Queue::walk(std::uint16_t head) const {
  Chain chain;
  chain.head = head;
  std::uint64_t bytes = 0;
  std::uint16_t index = head;
  for (std::uint32_t length = 0;; ++length) {
    if (length == layout_.size) return broken("a chain is longer than the queue");
    if (index >= layout_.size) return broken("a descriptor number is out of range");
    Descriptor descriptor;
    if (!memory_->read_object(layout_.descriptors + 16ull * index, descriptor)) return broken("unreadable descriptor");
    if ((descriptor.flags & kIndirect) != 0) return broken("an indirect descriptor was never offered");
    const GuestAddress address{descriptor.address};
    if (!memory_->contains(address, descriptor.length)) return broken("a buffer lies outside guest memory");
    bytes += descriptor.length;
    if (bytes > limits::kChainBytesMax) return broken("a chain holds more than 4 GiB");
    if ((descriptor.flags & kWrite) != 0) {
      chain.writable.push_back({address, descriptor.length});
    } else {
      if (!chain.writable.empty()) return broken("a readable buffer follows a writable one");
      chain.readable.push_back({address, descriptor.length});
    }
    if ((descriptor.flags & kNext) == 0) return chain;
    index = descriptor.next;
  }
}

base::Result<std::optional<Chain>> Queue::pop() {
  std::uint16_t available = 0;
  if (!memory_->load_u16(layout_.available + 2, available)) return broken("unreadable available index");
  const auto pending = static_cast<std::uint16_t>(available - next_available_);
  if (pending == 0) return std::optional<Chain>();
  if (pending > layout_.size) return broken("the available index ran ahead of the queue");
  std::uint16_t head = 0;
  const std::uint64_t slot = next_available_ % layout_.size;
  if (!memory_->load_u16(layout_.available + 4 + 2 * slot, head)) return broken("unreadable available ring");
  SANDFORGE_TRY(Chain chain, walk(head));
  ++next_available_;
  return std::optional<Chain>(std::move(chain));
}

base::Result<std::optional<Chain>> Queue::pop_or_ask() {
  SANDFORGE_TRY(std::optional<Chain> chain, pop());
  if (chain) return chain;
  SANDFORGE_TRY_STATUS(want_kicks());
  return pop();  // one may have come in between
}

base::Status Queue::push(std::uint16_t head, std::uint32_t written) {
  const UsedElement element{head, written};
  const std::uint64_t slot = next_used_ % layout_.size;
  if (!memory_->write_object(layout_.used + 4 + 8 * slot, element)) return broken("unwritable used ring");
  ++next_used_;
  if (!memory_->store_u16(layout_.used + 2, next_used_)) return broken("unwritable used index");
  return {};
}

base::Result<bool> Queue::needs_interrupt() {
  const std::uint16_t before = signalled_used_;
  signalled_used_ = next_used_;
  if (before == next_used_) return false;
  // The used index must be visible before the driver's wish is read (2.7.7.2, 2.7.8.2).
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!layout_.event_index) {
    std::uint16_t flags = 0;
    if (!memory_->load_u16(layout_.available, flags)) return broken("unreadable available flags");
    return (flags & kNoInterrupt) == 0;
  }
  std::uint16_t event = 0;
  if (!memory_->load_u16(layout_.available + 4 + 2ull * layout_.size, event)) return broken("unreadable event index");
  // True when `event` lies in [before, next_used_): modulo 2^16, as the indices are.
  return static_cast<std::uint16_t>(next_used_ - event - 1) < static_cast<std::uint16_t>(next_used_ - before);
}

base::Status Queue::want_kicks() {
  const bool stored = layout_.event_index ? memory_->store_u16(layout_.used + 4 + 8ull * layout_.size, next_available_)
                                          : memory_->store_u16(layout_.used, std::uint16_t{0});
  if (!stored) return broken("unwritable used ring");
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return {};
}

}  // namespace sandforge::vmm
