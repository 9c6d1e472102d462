// SPDX-License-Identifier: Apache-2.0
// A virtio device in its place: its window of registers, its interrupt line, and the event descriptors by which its
// driver kicks it.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "vmm/hypervisor/hypervisor.hpp"
#include "vmm/monitor/loop.hpp"
#include "vmm/platform/bus.hpp"
#include "vmm/virtio/mmio_transport.hpp"

namespace sandforge::vmm {

// Device loop thread only, but for access_at_once.
class DeviceSlot final : public Registers {
 public:
  // `memory` and `loop` outlive the slot. `before_interrupt` is called before each interrupt.
  static base::Result<std::unique_ptr<DeviceSlot>> create(const GuestMemory& memory, std::unique_ptr<Device> device,
                                                          Loop& loop, std::function<void()> before_interrupt);
  ~DeviceSlot() override;

  // Interrupts to `line`, kicks from `window`, registers to be read in `page`. Before the guest runs.
  base::Status attach(Vm& vm, GuestAddress window, std::uint32_t line, std::span<std::byte> page);

  void read(std::uint64_t offset, std::span<std::byte> out) override { transport_->read(offset, out); }
  void write(std::uint64_t offset, std::span<const std::byte> in) override { transport_->write(offset, in); }
  bool access_at_once(std::uint64_t offset, bool write, std::span<std::byte> data) noexcept override {
    return transport_->access_at_once(offset, write, data);
  }
  MmioTransport& transport() noexcept { return *transport_; }

 private:
  explicit DeviceSlot(Loop& loop) : loop_(loop) {}

  Loop& loop_;
  base::UniqueFd interrupt_;
  std::vector<base::UniqueFd> kicks_;  // one a queue
  base::UniqueFd acknowledged_;        // counts what nobody needs to know
  std::unique_ptr<MmioTransport> transport_;
};

}  // namespace sandforge::vmm
