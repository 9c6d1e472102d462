// SPDX-License-Identifier: Apache-2.0
// virtio over MMIO, version 2 (virtio 1.2, section 4.2): the registers of one device and its life.
//
//   reset -> ACKNOWLEDGE -> DRIVER -> FEATURES_OK -> DRIVER_OK (queues latched, device active) -> reset
//                                                        `-> NEEDS_RESET when the driver breaks a rule
//
// Bits may only be added, in this order; anything else is ignored. Queue registers are frozen from DRIVER_OK to reset.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "vmm/virtio/device.hpp"

namespace sandforge::vmm {

inline constexpr std::uint64_t kMmioWindow = 0x1000;  // bytes of address space a device takes
inline constexpr std::size_t kQueuesMax = 4;
inline constexpr std::uint32_t kMmioQueueNotify = 0x050;  // where an ioeventfd listens
// And at this one, to the value that acknowledges used buffers alone: see show_in().
inline constexpr std::uint32_t kMmioInterruptAck = 0x064, kMmioUsedBuffers = 1;

struct MmioRange {
  std::uint32_t offset, bytes;
};
// Registers that cannot be read and mean nothing before FEATURES_OK or QueueReady is written: the driver's features, a
// queue's size, a queue's addresses.
inline constexpr MmioRange kMmioWriteOnly[] = {{0x020, 8}, {0x038, 4}, {0x080, 0x28}};

class MmioTransport final : public Interrupt {
 public:
  // `raise` makes the interrupt line's irqfd fire, `again` makes kick(queue) be called later; neither may block.
  // `memory` outlives the transport.
  MmioTransport(const GuestMemory& memory, std::unique_ptr<Device> device, std::function<void()> raise,
                std::function<void(std::uint32_t queue)> again = {});

  // A guest's access at `offset` into the window, 1 to 8 bytes. Never fails: what makes no sense reads as zero or is
  // ignored. Device loop thread.
  void read(std::uint64_t offset, std::span<std::byte> out);
  void write(std::uint64_t offset, std::span<const std::byte> in);
  // Any thread: a read of InterruptStatus and a write to InterruptACK, which each interrupt costs. False for all else,
  // and once there is a page to show registers in.
  bool access_at_once(std::uint64_t offset, bool write, std::span<std::byte> data) noexcept;
  // A page of `kMmioWindow` bytes that the guest reads the registers from: from now on it always holds what read()
  // would answer. The transport only ever writes it. One difference: while the device is active, the page's
  // InterruptStatus always says that buffers were used, so that nobody needs to be told of kMmioUsedBuffers in
  // InterruptAck. A driver that looks at a queue for nothing finds it empty.
  void show_in(std::span<std::byte> page);
  // What a write to QueueNotify does, for a kick that came over an ioeventfd.
  void kick(std::uint32_t queue);

  bool active() const noexcept { return (status_ & kDriverOk) != 0 && (status_ & kNeedsReset) == 0; }
  bool needs_reset() const noexcept { return (status_ & kNeedsReset) != 0; }
  Device& device() noexcept { return *device_; }

  void queues_used() override;
  void config_changed() override;
  void kick_again(std::size_t queue) override;
  void failed() override { fail(); }

 private:
  static constexpr std::uint32_t kAcknowledge = 1, kDriver = 2, kDriverOk = 4, kFeaturesOk = 8, kNeedsReset = 64,
                                 kFailed = 128;
  struct QueueRegisters {
    std::uint16_t size = 0;
    bool ready = false;
    std::uint64_t descriptors = 0, available = 0, used = 0;
  };

  void show_register(std::uint32_t offset);
  void show_registers();
  void show_config();

  std::uint64_t offered() const;
  std::uint32_t read_register(std::uint32_t offset) const;
  void write_register(std::uint32_t offset, std::uint32_t value);
  void write_queue_register(std::uint32_t offset, std::uint32_t value);
  void write_status(std::uint32_t value);
  void activate();
  void reset();
  void fail();

  const GuestMemory& memory_;
  std::unique_ptr<Device> device_;
  std::function<void()> raise_;
  std::function<void(std::uint32_t)> again_;
  std::span<std::byte> page_;
  std::uint32_t status_ = 0;
  std::atomic<std::uint32_t> interrupt_status_ = 0;  // vCPU threads read and acknowledge it themselves
  std::uint32_t config_generation_ = 0;
  std::uint32_t device_features_select_ = 0, driver_features_select_ = 0;
  std::uint64_t driver_features_ = 0;
  std::uint32_t queue_select_ = 0;
  std::array<QueueRegisters, kQueuesMax> queues_{};
};

}  // namespace sandforge::vmm
