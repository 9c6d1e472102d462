// SPDX-License-Identifier: Apache-2.0
// Fuzz target: the registers of a virtio-mmio device, in front of a device that checks what a transport promises to it:
// it is activated once between resets, with queues that were valid at that time, and left alone when it failed.
#include "device_script.hpp"

namespace {

using namespace sandforge;
using namespace sandforge::vmm;
using namespace sandforge::vmm::test;

constexpr std::size_t kQueues = 3;
constexpr std::uint64_t kOffered = 0b1011;

// Does what the script says, and watches.
class Watchful final : public Device {
 public:
  explicit Watchful(ScriptReader& in) : in_(in) {}
  DeviceType type() const override { return DeviceType::Rng; }
  std::uint64_t features() const override { return kOffered; }
  std::size_t queue_count() const override { return kQueues; }
  std::uint16_t queue_size_max(std::size_t) const override { return kQueueSizeMax; }
  void read_config(std::uint32_t offset, std::span<std::byte> out) const override {
    must(offset < kMmioWindow - reg::kConfig);
    for (const std::byte byte : out) must(byte == std::byte{0});
  }
  void write_config(std::uint32_t offset, std::span<const std::byte>) override {
    must(offset < kMmioWindow - reg::kConfig);
  }
  base::Status activate(Activation activation) override {
    must(!active_ && !failed_);
    must(activation.queues.size() == kQueues && activation.interrupt != nullptr);
    must((activation.features & kFeatureVersion1) != 0);
    must((activation.features & ~(kOffered | kFeatureVersion1 | kFeatureEventIndex)) == 0);
    if (in_.below(16) == 15) return broken();
    interrupt_ = activation.interrupt;
    active_ = true;
    return {};
  }
  base::Status kick(std::size_t queue) override {
    must(active_ && queue < kQueues);
    switch (in_.below(8)) {
      case 0: return broken();
      case 1: interrupt_->queues_used(); break;
      case 2: interrupt_->kick_again(queue); break;
      case 3: interrupt_->config_changed(); break;
      default: break;
    }
    return {};
  }
  void reset() override { active_ = failed_ = false; }
  // From an event of the host.
  void fail() {
    if (active_) interrupt_->failed();
    must(!active_);
  }

 private:
  base::Status broken() {
    failed_ = true;
    return base::make_error(base::Code::Corrupt, {}, "the script says so");
  }

  ScriptReader& in_;
  Interrupt* interrupt_ = nullptr;
  bool active_ = false, failed_ = false;
};

// What holds of the registers at any time.
void check_registers(MmioTransport& transport) {
  const std::uint32_t state = FakeDriver::read_register(transport, reg::kStatus);
  must((state & ~0xcfu) == 0);
  must((state & status::kDriver) == 0 || (state & status::kAcknowledge) != 0);
  must((state & status::kFeaturesOk) == 0 || (state & status::kDriver) != 0);
  must((state & status::kDriverOk) == 0 || (state & status::kFeaturesOk) != 0);
  must((state & status::kNeedsReset) == 0 || (state & status::kDriverOk) != 0);
  must(transport.active() == ((state & (status::kDriverOk | status::kNeedsReset)) == status::kDriverOk));
  must(FakeDriver::read_register(transport, reg::kInterruptStatus) < 4);
  must(FakeDriver::read_register(transport, reg::kMagicValue) == 0x74726976);
}

void access(MmioTransport& transport, ScriptReader& in) {
  std::array<std::byte, 16> bytes{};
  std::uint64_t offset = in.take<std::uint16_t>() % 0x1010;
  if (offset == 0x100f) offset = in.take<std::uint64_t>();
  const std::size_t width = in.below(17);
  const auto value = in.take<std::uint64_t>();
  std::memcpy(bytes.data(), &value, sizeof value);
  const std::uint32_t before = FakeDriver::read_register(transport, reg::kStatus);
  if (in.below(2) == 0) {
    transport.read(offset, std::span(bytes).first(width));
  } else {
    transport.write(offset, std::span<const std::byte>(bytes).first(width));
  }
  // Nothing but the whole register at its own address changes the status; a kick may find the device broken.
  const std::uint32_t after = FakeDriver::read_register(transport, reg::kStatus);
  if (offset != reg::kStatus || width != 4)
    must((before & ~after) == 0 && (after & ~before & ~status::kNeedsReset) == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ScriptReader in(data, size);
  auto owned = std::make_unique<Watchful>(in);
  Watchful& device = *owned;
  ScriptedDevice scripted(std::move(owned));
  while (!in.done()) {
    const std::uint32_t what = in.below(16);
    if (what < ScriptedDevice::kSteps) {
      scripted.step(what, in);
    } else if (what == 8) {
      device.fail();
    } else {
      access(scripted.transport, in);
      scripted.run_again();
    }
    check_registers(scripted.transport);
  }
  FakeDriver::write_register(scripted.transport, reg::kStatus, 0);
  must(FakeDriver::read_register(scripted.transport, reg::kStatus) == 0);
  return 0;
}
