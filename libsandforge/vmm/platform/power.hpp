// SPDX-License-Identifier: Apache-2.0
// The three ports by which a hardware-reduced ACPI machine is switched off or reset (ACPI 6.4, 4.8.3.6 and 4.8.3.7).
#pragma once

#include <algorithm>
#include <functional>

#include "vmm/monitor/ending.hpp"
#include "vmm/platform/bus.hpp"

namespace sandforge::vmm {

// Device loop thread only.
class Power final : public Registers {
 public:
  explicit Power(std::function<void(Ending)> end) : end_(std::move(end)) {}

  void read(std::uint64_t, std::span<std::byte> out) override { std::fill(out.begin(), out.end(), std::byte{0}); }
  void write(std::uint64_t offset, std::span<const std::byte> in) override {
    if (in.empty()) return;
    const auto value = static_cast<unsigned>(in[0]);
    constexpr unsigned kSleepEnable = 1u << 5, kOff = 5;
    if (offset == 0 && (value & kSleepEnable) != 0 && ((value >> 2) & 7) == kOff) end_(Ending::PowerOff);
    if (offset == 2 && value == 1) end_(Ending::Reset);
  }

 private:
  std::function<void(Ending)> end_;
};

}  // namespace sandforge::vmm
