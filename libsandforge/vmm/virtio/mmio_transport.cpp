// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/mmio_transport.hpp"

#include <algorithm>
#include <cstring>

namespace sandforge::vmm {
namespace {

// SPEC: virtio 1.2, 4.2.2 (MMIO device register layout).
enum Register : std::uint32_t {
  kMagicValue = 0x000,
  kVersion = 0x004,
  kDeviceId = 0x008,
  kVendorId = 0x00c,
  kDeviceFeatures = 0x010,
  kDeviceFeaturesSelect = 0x014,
  kDriverFeatures = 0x020,
  kDriverFeaturesSelect = 0x024,
  kQueueSelect = 0x030,
  kQueueNumMax = 0x034,
  kQueueNum = 0x038,
  kQueueReady = 0x044,
  kInterruptStatus = 0x060,
  kInterruptAck = kMmioInterruptAck,
  kStatus = 0x070,
  kQueueDescLow = 0x080,
  kQueueDescHigh = 0x084,
  kQueueDriverLow = 0x090,
  kQueueDriverHigh = 0x094,
  kQueueDeviceLow = 0x0a0,
  kQueueDeviceHigh = 0x0a4,
  kShmLengthLow = 0x0b0,
  kShmLengthHigh = 0x0b4,
  kShmBaseLow = 0x0b8,
  kShmBaseHigh = 0x0bc,
  kConfigGeneration = 0x0fc,
  kConfigSpace = 0x100,
};
constexpr std::uint32_t kMagic = 0x74726976;   // "virt"
constexpr std::uint32_t kVendor = 0x46524453;  // "SDRF"
constexpr std::uint32_t kConfigShown = 0x100;  // no device of ours has more
constexpr std::uint32_t kUsedBufferBit = kMmioUsedBuffers, kConfigChangeBit = 2;

void set_low(std::uint64_t& address, std::uint32_t value) { address = (address & ~0xffffffffull) | value; }
void set_high(std::uint64_t& address, std::uint32_t value) {
  address = (address & 0xffffffffull) | (std::uint64_t{value} << 32);
}

}  // namespace

MmioTransport::MmioTransport(const GuestMemory& memory, std::unique_ptr<Device> device, std::function<void()> raise,
                             std::function<void(std::uint32_t)> again)
    : memory_(memory), device_(std::move(device)), raise_(std::move(raise)), again_(std::move(again)) {}

std::uint64_t MmioTransport::offered() const { return device_->features() | kFeatureVersion1 | kFeatureEventIndex; }

void MmioTransport::read(std::uint64_t offset, std::span<std::byte> out) {
  std::fill(out.begin(), out.end(), std::byte{0});
  if (offset >= kConfigSpace) {
    if (offset < kMmioWindow) device_->read_config(static_cast<std::uint32_t>(offset - kConfigSpace), out);
    return;
  }
  if (out.size() != 4 || offset % 4 != 0) return;
  const std::uint32_t value = read_register(static_cast<std::uint32_t>(offset));
  std::memcpy(out.data(), &value, sizeof value);
}

std::uint32_t MmioTransport::read_register(std::uint32_t offset) const {
  const bool selected = queue_select_ < device_->queue_count();
  switch (offset) {
    case kMagicValue: return kMagic;
    case kVersion: return 2;
    case kDeviceId: return static_cast<std::uint32_t>(device_->type());
    case kVendorId: return kVendor;
    case kDeviceFeatures:
      return device_features_select_ < 2 ? static_cast<std::uint32_t>(offered() >> (32 * device_features_select_)) : 0;
    case kQueueNumMax: return selected ? device_->queue_size_max(queue_select_) : 0;
    case kQueueReady: return selected && queues_[queue_select_].ready ? 1 : 0;
    case kInterruptStatus: return interrupt_status_;
    case kStatus: return status_;
    case kShmLengthLow:
    case kShmLengthHigh:
    case kShmBaseLow:
    case kShmBaseHigh: return UINT32_MAX;  // SPEC: 4.2.2, there is no such region of shared memory
    case kConfigGeneration: return config_generation_;
    default: return 0;
  }
}

void MmioTransport::show_in(std::span<std::byte> page) {
  page_ = page;
  for (const std::uint32_t offset :
       {kMagicValue, kVersion, kDeviceId, kVendorId, kShmLengthLow, kShmLengthHigh, kShmBaseLow, kShmBaseHigh}) {
    show_register(offset);
  }
  show_registers();
  show_config();
}

void MmioTransport::show_register(std::uint32_t offset) {
  if (page_.empty()) return;
  std::uint32_t value = read_register(offset);
  if (offset == kInterruptStatus && active()) value |= kUsedBufferBit;
  // SAFETY: inside the page and aligned; the guest reads it concurrently, hence atomic. Release: it sees, with this
  // one, what was shown before.
  __atomic_store_n(reinterpret_cast<std::uint32_t*>(page_.data() + offset), value, __ATOMIC_RELEASE);
}

// Those that a write to another one may change.
void MmioTransport::show_registers() {
  for (const std::uint32_t offset :
       {kDeviceFeatures, kQueueNumMax, kQueueReady, kInterruptStatus, kStatus, kConfigGeneration}) {
    show_register(offset);
  }
}

void MmioTransport::show_config() {
  if (page_.empty()) return;
  std::array<std::byte, kConfigShown> config{};
  device_->read_config(0, config);
  for (std::uint32_t at = 0; at < kConfigShown; at += sizeof(std::uint32_t)) {
    std::uint32_t value = 0;
    std::memcpy(&value, config.data() + at, sizeof value);
    // SAFETY: as above.
    __atomic_store_n(reinterpret_cast<std::uint32_t*>(page_.data() + kConfigSpace + at), value, __ATOMIC_RELAXED);
  }
}

void MmioTransport::write(std::uint64_t offset, std::span<const std::byte> in) {
  if (offset >= kConfigSpace) {
    if (offset < kMmioWindow) device_->write_config(static_cast<std::uint32_t>(offset - kConfigSpace), in);
    show_config();
    return;
  }
  if (in.size() != 4 || offset % 4 != 0) return;
  std::uint32_t value = 0;
  std::memcpy(&value, in.data(), sizeof value);
  write_register(static_cast<std::uint32_t>(offset), value);
  if (offset != kInterruptAck) return show_registers();
  show_register(kInterruptStatus);
}

bool MmioTransport::access_at_once(std::uint64_t offset, bool write, std::span<std::byte> data) noexcept {
  // A page is kept up to date by the loop's thread alone; and with one, both cost nothing anyway.
  if (!page_.empty()) return false;
  std::uint32_t value = 0;
  if (offset != (write ? kInterruptAck : kInterruptStatus) || data.size() != sizeof value) return false;
  if (write) {
    std::memcpy(&value, data.data(), sizeof value);
    interrupt_status_ &= ~value;
  } else {
    value = interrupt_status_;
    std::memcpy(data.data(), &value, sizeof value);
  }
  return true;
}

void MmioTransport::write_register(std::uint32_t offset, std::uint32_t value) {
  switch (offset) {
    case kDeviceFeaturesSelect: device_features_select_ = value; break;
    case kDriverFeaturesSelect: driver_features_select_ = value; break;
    case kDriverFeatures:
      // Settled at FEATURES_OK (3.1.1): what the driver wants later is not heard.
      if ((status_ & kFeaturesOk) != 0) break;
      if (driver_features_select_ == 0) set_low(driver_features_, value);
      if (driver_features_select_ == 1) set_high(driver_features_, value);
      break;
    case kQueueSelect: queue_select_ = value; break;
    case kMmioQueueNotify: kick(value); break;
    case kInterruptAck: interrupt_status_ &= ~value; break;
    case kStatus: write_status(value); break;
    default: write_queue_register(offset, value); break;
  }
}

void MmioTransport::write_queue_register(std::uint32_t offset, std::uint32_t value) {
  if (queue_select_ >= device_->queue_count() || (status_ & kDriverOk) != 0) return;
  QueueRegisters& queue = queues_[queue_select_];
  switch (offset) {
    case kQueueNum: queue.size = static_cast<std::uint16_t>(std::min(value, 0xffffu)); break;
    case kQueueReady: queue.ready = value == 1; break;
    case kQueueDescLow: set_low(queue.descriptors, value); break;
    case kQueueDescHigh: set_high(queue.descriptors, value); break;
    case kQueueDriverLow: set_low(queue.available, value); break;
    case kQueueDriverHigh: set_high(queue.available, value); break;
    case kQueueDeviceLow: set_low(queue.used, value); break;
    case kQueueDeviceHigh: set_high(queue.used, value); break;
    default: break;
  }
}

void MmioTransport::write_status(std::uint32_t value) {
  if (value == 0) {
    reset();
    return;
  }
  // NEEDS_RESET is the device's to set; everything else may only be added, one step after the other.
  const std::uint32_t added = value & ~status_ & ~kNeedsReset;
  if ((status_ & ~value & ~kNeedsReset) != 0) return;
  switch (added) {
    case kAcknowledge: status_ |= kAcknowledge; break;
    case kDriver:
      if ((status_ & kAcknowledge) != 0) status_ |= kDriver;
      break;
    case kFeaturesOk: {
      // A set that we did not offer, or one without VERSION_1, leaves the bit clear: the driver sees it (3.1.1).
      const bool acceptable = (driver_features_ & ~offered()) == 0 && (driver_features_ & kFeatureVersion1) != 0;
      if ((status_ & kDriver) != 0 && acceptable) status_ |= kFeaturesOk;
      break;
    }
    case kDriverOk:
      if ((status_ & kFeaturesOk) != 0) {
        status_ |= kDriverOk;
        activate();
      }
      break;
    case kFailed: status_ |= kFailed; break;
    default: break;
  }
}

void MmioTransport::activate() {
  Activation activation{&memory_, {}, driver_features_, this};
  for (std::size_t i = 0; i < device_->queues_needed(driver_features_); ++i) {
    const QueueRegisters& queue = queues_[i];
    if (!queue.ready || queue.size > device_->queue_size_max(i)) return fail();
    const QueueLayout layout{queue.size, GuestAddress{queue.descriptors}, GuestAddress{queue.available},
                             GuestAddress{queue.used}, (driver_features_ & kFeatureEventIndex) != 0};
    auto opened = Queue::open(memory_, layout);
    if (!opened) return fail();
    activation.queues.push_back(std::move(opened).value());
  }
  if (!device_->activate(std::move(activation))) fail();
}

void MmioTransport::reset() {
  device_->reset();
  status_ = 0;
  interrupt_status_ = 0;
  driver_features_ = 0;
  device_features_select_ = driver_features_select_ = queue_select_ = 0;
  queues_ = {};
}

void MmioTransport::fail() {
  if (needs_reset()) return;
  device_->reset();
  status_ |= kNeedsReset;
  config_changed();
}

void MmioTransport::kick(std::uint32_t queue) {
  if (!active() || queue >= device_->queue_count()) return;
  if (!device_->kick(queue)) fail();
}

void MmioTransport::queues_used() {
  interrupt_status_ |= kUsedBufferBit;
  show_register(kInterruptStatus);  // the device may be quick: not shown as active yet
  raise_();
}

void MmioTransport::kick_again(std::size_t queue) {
  if (again_) again_(static_cast<std::uint32_t>(queue));
}

void MmioTransport::config_changed() {
  ++config_generation_;
  interrupt_status_ |= kConfigChangeBit;
  show_config();
  show_registers();
  raise_();
}

}  // namespace sandforge::vmm
