// SPDX-License-Identifier: Apache-2.0
// The driver's half of virtqueues, over memory of the test: enough to talk to a device as a guest would.
#pragma once

#include <cstring>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "vmm/virtio/device.hpp"

namespace sandforge::vmm::test {

// Counts what a device asks of its transport.
struct FakeInterrupt final : Interrupt {
  int used = 0, changed = 0, failures = 0;
  std::vector<std::size_t> again;
  void queues_used() override { ++used; }
  void config_changed() override { ++changed; }
  void kick_again(std::size_t queue) override { again.push_back(queue); }
  void failed() override { ++failures; }
};

// One megabyte of guest memory: queue n has its rings at n * 64 KiB, buffers start at 512 KiB.
class FakeDriver {
 public:
  static constexpr std::uint16_t kSize = 64;

  explicit FakeDriver(std::size_t queues) : bytes_(1 << 20), rings_(queues) {
    memory_ = std::make_unique<GuestMemory>(std::vector<MemoryRegion>{{GuestAddress{0}, bytes_.size(), bytes_.data()}});
  }
  const GuestMemory& memory() const { return *memory_; }
  FakeInterrupt& interrupt() { return interrupt_; }

  Activation activation() {
    Activation activation{memory_.get(), {}, kFeatureVersion1, &interrupt_};
    for (std::size_t i = 0; i < rings_.size(); ++i) {
      auto queue = Queue::open(*memory_, {kSize, at(i, 0), at(i, 0x1000), at(i, 0x2000), false});
      activation.queues.push_back(std::move(queue).value());
    }
    return activation;
  }

  // A chain of one readable and one writable buffer, either of which may be empty. Gives its number.
  std::uint16_t offer(std::size_t queue, std::string_view readable, std::uint32_t writable) {
    Ring& ring = rings_[queue];
    const auto head = static_cast<std::uint16_t>(ring.next_descriptor);
    const auto length = static_cast<std::uint32_t>(readable.size());
    if (length > 0) describe(queue, take(readable), length, false, writable > 0);
    if (writable > 0) describe(queue, take(std::string(writable, '\0')), writable, true, false);
    put(at(queue, 0x1004 + 2 * (ring.available % kSize)), head);
    put(at(queue, 0x1002), ++ring.available);
    return head;
  }

  // What the device gave back since the last call: the bytes it says it wrote, of each chain.
  std::deque<std::string> used(std::size_t queue) {
    Ring& ring = rings_[queue];
    std::deque<std::string> out;
    for (; ring.used != get<std::uint16_t>(at(queue, 0x2002)); ++ring.used) {
      const GuestAddress element = at(queue, 0x2004 + 8 * (ring.used % kSize));
      const auto id = get<std::uint32_t>(element), length = get<std::uint32_t>(element + 4);
      std::string bytes(length, '\0');
      // Of a chain with one writable buffer: its last descriptor.
      GuestAddress descriptor = at(queue, 16 * id);
      if ((get<std::uint16_t>(descriptor + 12) & 1) != 0) {
        descriptor = at(queue, 16ull * get<std::uint16_t>(descriptor + 14));
      }
      (void)memory_->read(GuestAddress{get<std::uint64_t>(descriptor)}, std::as_writable_bytes(std::span(bytes)));
      out.push_back(bytes);
    }
    return out;
  }

 private:
  struct Ring {
    std::uint16_t available = 0, used = 0;
    std::uint32_t next_descriptor = 0;
  };

  static GuestAddress at(std::size_t queue, std::uint64_t offset) { return GuestAddress{queue * 0x10000 + offset}; }
  template <typename T>
  void put(GuestAddress address, T value) {
    (void)memory_->write_object(address, value);
  }
  template <typename T>
  T get(GuestAddress address) const {
    T value{};
    (void)memory_->read_object(address, value);
    return value;
  }
  std::uint64_t take(std::string_view content) {
    if (next_buffer_ + content.size() > bytes_.size()) next_buffer_ = 512 * 1024;
    const std::uint64_t address = next_buffer_;
    (void)memory_->write(GuestAddress{address}, std::as_bytes(std::span(content)));
    next_buffer_ += content.size();
    return address;
  }
  void describe(std::size_t queue, std::uint64_t address, std::uint32_t length, bool writable, bool more) {
    Ring& ring = rings_[queue];
    const GuestAddress descriptor = at(queue, 16ull * ring.next_descriptor);
    ring.next_descriptor = (ring.next_descriptor + 1) % kSize;
    put(descriptor, address);
    put(descriptor + 8, length);
    put(descriptor + 12, static_cast<std::uint16_t>((writable ? 2 : 0) | (more ? 1 : 0)));
    put(descriptor + 14, static_cast<std::uint16_t>(ring.next_descriptor));
  }

  std::vector<std::byte> bytes_;
  std::unique_ptr<GuestMemory> memory_;
  std::vector<Ring> rings_;
  FakeInterrupt interrupt_;
  std::uint64_t next_buffer_ = 512 * 1024;
};

}  // namespace sandforge::vmm::test
