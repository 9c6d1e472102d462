// SPDX-License-Identifier: Apache-2.0
// The one shape of all virtio devices. A device knows queues, memory and an interrupt; it does not know its transport.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "vmm/memory/guest_memory.hpp"
#include "vmm/virtio/queue.hpp"

namespace sandforge::vmm {

// Device types of virtio 1.2, section 5.
enum class DeviceType : std::uint32_t { Net = 1, Block = 2, Rng = 4, Balloon = 5, Vsock = 19, Fs = 26 };

// Device-independent feature bits (virtio 1.2, section 6).
inline constexpr std::uint64_t kFeatureEventIndex = 1ull << 29;
inline constexpr std::uint64_t kFeatureVersion1 = 1ull << 32;

// How a device reaches its driver. Implemented by the transport; outlives the device's activation.
class Interrupt {
 public:
  virtual ~Interrupt() = default;
  virtual void queues_used() = 0;  // after Queue::needs_interrupt said so
  virtual void config_changed() = 0;
  // The device stopped with requests left, so that others get their turn: kick(queue) comes again, soon.
  virtual void kick_again(std::size_t queue) = 0;
  // Outside activate() and kick(): the driver broke the rules. The device is reset before this returns.
  virtual void failed() = 0;
};

struct Activation {
  const GuestMemory* memory = nullptr;
  std::vector<Queue> queues;
  std::uint64_t features = 0;  // as negotiated
  Interrupt* interrupt = nullptr;
};

// All of it on the device loop's thread. An error of a Status means that the driver broke the rules: the transport sets
// DEVICE_NEEDS_RESET and the device is left alone until it is reset.
class Device {
 public:
  virtual ~Device() = default;

  virtual DeviceType type() const = 0;
  virtual std::uint64_t features() const = 0;  // offered, without the device-independent ones
  virtual std::size_t queue_count() const = 0;
  // How many of them, from the first on, exist with these features; the driver sets up no others.
  virtual std::size_t queues_needed(std::uint64_t /*features*/) const { return queue_count(); }
  // Entries that a queue may have, a power of two up to kQueueSizeMax. Drivers take as many as they may, and touch
  // memory for each at start-up.
  virtual std::uint16_t queue_size_max(std::size_t queue) const = 0;
  // Little-endian bytes of the configuration space; what lies beyond it reads as zero.
  virtual void read_config(std::uint32_t offset, std::span<std::byte> out) const = 0;
  virtual void write_config(std::uint32_t offset, std::span<const std::byte> in) = 0;
  virtual base::Status activate(Activation activation) = 0;
  // The driver put something into a queue.
  virtual base::Status kick(std::size_t queue) = 0;
  // Back to the state before activation; no request is in flight when it returns.
  virtual void reset() = 0;
};

}  // namespace sandforge::vmm
