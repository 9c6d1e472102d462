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
  // Any thread: a read of InterruptStatus and a write to InterruptACK, which each interrupt costs. False for all else.
  bool access_at_once(std::uint64_t offset, bool write, std::span<std::byte> data) noexcept;
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
  std::uint32_t status_ = 0;
  std::atomic<std::uint32_t> interrupt_status_ = 0;  // vCPU threads read and acknowledge it themselves
  std::uint32_t config_generation_ = 0;
  std::uint32_t device_features_select_ = 0, driver_features_select_ = 0;
  std::uint64_t driver_features_ = 0;
  std::uint32_t queue_select_ = 0;
  std::array<QueueRegisters, kQueuesMax> queues_{};
};

}  // namespace sandforge::vmm
