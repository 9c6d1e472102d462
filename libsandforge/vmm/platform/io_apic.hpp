// SPDX-License-Identifier: Apache-2.0
// The I/O APIC, in user space: it only translates. Each unmasked pin becomes a message to the local APICs, which the
// hypervisor delivers by itself; no interrupt passes through here.
//
// All pins are edge-triggered, whatever the guest writes: every device here raises its line by an event, and a level
// would cost an exit at the end of every interrupt.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "vmm/hypervisor/hypervisor.hpp"
#include "vmm/platform/bus.hpp"

namespace sandforge::vmm {

// Device loop thread only.
class IoApic final : public Registers {
 public:
  static constexpr std::uint32_t kWriteBytes = 0x14;  // from offset 0: the registers that can be written
  using SetRoutes = std::function<void(std::span<const MessageRoute>)>;

  // `pins` up to 240 (the register that tells their number has 8 bits). `set_routes` is called when a route changed.
  IoApic(std::uint32_t pins, SetRoutes set_routes);

  void read(std::uint64_t offset, std::span<std::byte> out) override;
  void write(std::uint64_t offset, std::span<const std::byte> in) override;

 private:
  std::uint32_t read_register() const;
  void write_register(std::uint32_t value);
  void update_routes();

  std::vector<std::uint64_t> pins_;  // redirection table
  SetRoutes set_routes_;
  std::vector<MessageRoute> routes_;  // as last set
  std::uint32_t select_ = 0;
  std::uint32_t identifier_ = 0;
};

}  // namespace sandforge::vmm
