// SPDX-License-Identifier: Apache-2.0
// The driver's half of virtqueues and of a transport, over memory of the test: enough to talk to a device as a guest
// would, and, by the raw calls, as no guest should.
#pragma once

#include <cstring>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "vmm/devices/guarded_memory.hpp"
#include "vmm/virtio/device.hpp"
#include "vmm/virtio/mmio_transport.hpp"

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

// SPEC: virtio 1.2, 4.2.2 (registers of virtio over MMIO) and 2.1 (device status).
namespace reg {
inline constexpr std::uint32_t kMagicValue = 0x000, kVersion = 0x004, kDeviceId = 0x008, kVendorId = 0x00c,
                               kDeviceFeatures = 0x010, kDeviceFeaturesSelect = 0x014, kDriverFeatures = 0x020,
                               kDriverFeaturesSelect = 0x024, kQueueSelect = 0x030, kQueueNumMax = 0x034,
                               kQueueNum = 0x038, kQueueReady = 0x044, kQueueNotify = 0x050, kInterruptStatus = 0x060,
                               kInterruptAck = 0x064, kStatus = 0x070, kQueueDescLow = 0x080, kQueueDescHigh = 0x084,
                               kQueueDriverLow = 0x090, kQueueDriverHigh = 0x094, kQueueDeviceLow = 0x0a0,
                               kQueueDeviceHigh = 0x0a4, kConfigGeneration = 0x0fc, kConfig = 0x100;
}  // namespace reg
namespace status {
inline constexpr std::uint32_t kAcknowledge = 1, kDriver = 2, kDriverOk = 4, kFeaturesOk = 8, kNeedsReset = 64,
                               kFailed = 128;
}

// As the guest writes it (2.7.5).
struct RawDescriptor {
  std::uint64_t address = 0;
  std::uint32_t length = 0;
  std::uint16_t flags = 0, next = 0;
};
inline constexpr std::uint16_t kNext = 1, kWrite = 2, kIndirect = 4;

// One megabyte of guest memory: queue n has its rings at n * 64 KiB, buffers start at 512 KiB.
class FakeDriver {
 public:
  static constexpr std::uint16_t kSize = 64;
  static constexpr std::uint64_t kBuffers = 512 * 1024;

  explicit FakeDriver(std::size_t queues) : rings_(queues) {}
  const GuestMemory& memory() const { return guarded_.memory(); }
  std::byte* host() const { return guarded_.low(); }
  FakeInterrupt& interrupt() { return interrupt_; }

  Activation activation() {
    Activation activation{&memory(), {}, kFeatureVersion1, &interrupt_};
    for (std::size_t i = 0; i < rings_.size(); ++i) {
      auto queue = Queue::open(memory(), {kSize, descriptors(i), available(i), used_ring(i), false});
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
    publish(queue, head);
    return head;
  }

  // What the device gave back since the last call: the bytes it says it wrote, of each chain.
  std::deque<std::string> used(std::size_t queue) {
    Ring& ring = rings_[queue];
    std::deque<std::string> out;
    for (; ring.used != used_index(queue); ++ring.used) {
      const GuestAddress element = used_ring(queue) + (4 + 8 * (ring.used % kSize));
      const auto id = get<std::uint32_t>(element), length = get<std::uint32_t>(element + 4);
      std::string bytes(length, '\0');
      // Of a chain with one writable buffer: its last descriptor.
      GuestAddress descriptor = descriptors(queue) + 16 * id;
      if ((get<std::uint16_t>(descriptor + 12) & 1) != 0) {
        descriptor = descriptors(queue) + 16ull * get<std::uint16_t>(descriptor + 14);
      }
      (void)memory().read(GuestAddress{get<std::uint64_t>(descriptor)}, std::as_writable_bytes(std::span(bytes)));
      out.push_back(bytes);
    }
    return out;
  }

  // ---- raw ----

  GuestAddress descriptors(std::size_t queue) const { return GuestAddress{queue * 0x10000}; }
  GuestAddress available(std::size_t queue) const { return descriptors(queue) + 0x1000; }
  GuestAddress used_ring(std::size_t queue) const { return descriptors(queue) + 0x2000; }
  std::uint16_t used_index(std::size_t queue) const { return get<std::uint16_t>(used_ring(queue) + 2); }
  std::uint16_t available_index(std::size_t queue) const { return rings_[queue].available; }

  void describe_raw(std::size_t queue, std::uint32_t index, const RawDescriptor& raw) {
    put(descriptors(queue) + 16ull * index, raw);
  }
  // Makes the chain that starts at `head` available.
  void publish(std::size_t queue, std::uint16_t head) {
    put(available(queue) + (4 + 2 * (rings_[queue].available % kSize)), head);
    set_available(queue, static_cast<std::uint16_t>(rings_[queue].available + 1));
  }
  // A chain from descriptor 0 on, each linked to the next, made available.
  void offer_raw(std::size_t queue, std::vector<RawDescriptor> chain) {
    for (std::uint16_t i = 0; i < chain.size(); ++i) {
      if (i + 1u < chain.size()) {
        chain[i].flags |= kNext;
        chain[i].next = static_cast<std::uint16_t>(i + 1);
      }
      describe_raw(queue, i, chain[i]);
    }
    publish(queue, 0);
  }
  void set_available(std::size_t queue, std::uint16_t index) {
    rings_[queue].available = index;
    put(available(queue) + 2, index);
  }
  // Puts bytes where the device may find them.
  std::uint64_t take(std::string_view content) {
    if (next_buffer_ + content.size() > GuardedMemory::kLowBytes) next_buffer_ = kBuffers;
    const std::uint64_t address = next_buffer_;
    (void)memory().write(GuestAddress{address}, std::as_bytes(std::span(content)));
    next_buffer_ += content.size();
    return address;
  }
  template <typename T>
  void put(GuestAddress address, const T& value) {
    (void)memory().write_object(address, value);
  }
  template <typename T>
  T get(GuestAddress address) const {
    T value{};
    (void)memory().read_object(address, value);
    return value;
  }

  // ---- over a transport ----

  static std::uint32_t read_register(MmioTransport& transport, std::uint64_t offset) {
    std::uint32_t value = 0;
    transport.read(offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  static void write_register(MmioTransport& transport, std::uint64_t offset, std::uint32_t value) {
    transport.write(offset, std::as_bytes(std::span(&value, 1)));
  }
  // Empty rings, and the registers of queue `queue` set as they should be.
  void set_up_queue(MmioTransport& transport, std::uint32_t queue) {
    const std::string zeros(0x3000, '\0');
    (void)memory().write(descriptors(queue), std::as_bytes(std::span(zeros)));
    rings_[queue] = {};
    const auto write = [&](std::uint32_t at, std::uint64_t value) {
      write_register(transport, at, static_cast<std::uint32_t>(value));
    };
    write(reg::kQueueSelect, queue);
    write(reg::kQueueNum, kSize);
    write(reg::kQueueDescLow, descriptors(queue).value);
    write(reg::kQueueDescHigh, 0);
    write(reg::kQueueDriverLow, available(queue).value);
    write(reg::kQueueDriverHigh, 0);
    write(reg::kQueueDeviceLow, used_ring(queue).value);
    write(reg::kQueueDeviceHigh, 0);
    write(reg::kQueueReady, 1);
  }
  // Reset to FEATURES_OK. False when the device did not take the features, which are added to VERSION_1.
  bool negotiate(MmioTransport& transport, std::uint64_t features = 0) {
    const auto write = [&](std::uint32_t at, std::uint32_t value) { write_register(transport, at, value); };
    features |= kFeatureVersion1;
    std::uint32_t state = 0;
    write(reg::kStatus, 0);
    write(reg::kStatus, state |= status::kAcknowledge);
    write(reg::kStatus, state |= status::kDriver);
    for (const std::uint32_t half : {0u, 1u}) {
      write(reg::kDriverFeaturesSelect, half);
      write(reg::kDriverFeatures, static_cast<std::uint32_t>(features >> (32 * half)));
    }
    write(reg::kStatus, state |= status::kFeaturesOk);
    return read_register(transport, reg::kStatus) == state;
  }
  // All of 3.1.1, from reset to DRIVER_OK. False when the device did not come up.
  bool start(MmioTransport& transport, std::uint64_t features = 0) {
    if (!negotiate(transport, features)) return false;
    for (std::uint32_t queue = 0; queue < rings_.size(); ++queue) set_up_queue(transport, queue);
    const std::uint32_t state = read_register(transport, reg::kStatus) | status::kDriverOk;
    write_register(transport, reg::kStatus, state);
    return read_register(transport, reg::kStatus) == state;
  }

 private:
  struct Ring {
    std::uint16_t available = 0, used = 0;
    std::uint32_t next_descriptor = 0;
  };

  void describe(std::size_t queue, std::uint64_t address, std::uint32_t length, bool writable, bool more) {
    Ring& ring = rings_[queue];
    const std::uint32_t index = ring.next_descriptor;
    ring.next_descriptor = (index + 1) % kSize;
    const auto flags = static_cast<std::uint16_t>((writable ? kWrite : 0) | (more ? kNext : 0));
    describe_raw(queue, index, {address, length, flags, static_cast<std::uint16_t>(ring.next_descriptor)});
  }

  GuardedMemory guarded_;
  std::vector<Ring> rings_;
  FakeInterrupt interrupt_;
  std::uint64_t next_buffer_ = kBuffers;
};

}  // namespace sandforge::vmm::test
