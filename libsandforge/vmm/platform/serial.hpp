// SPDX-License-Identifier: Apache-2.0
// A 16550 that only sends: the guest's log. Nothing is ever received.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "vmm/platform/bus.hpp"

namespace sandforge::vmm {

// Device loop thread only.
class Serial final : public Registers {
 public:
  // `sink` takes each byte; `raise` makes the line's interrupt fire. Neither blocks.
  Serial(std::function<void(char)> sink, std::function<void()> raise)
      : sink_(std::move(sink)), raise_(std::move(raise)) {}

  void read(std::uint64_t offset, std::span<std::byte> out) override;
  void write(std::uint64_t offset, std::span<const std::byte> in) override;

 private:
  std::uint8_t read_register(std::uint64_t offset);
  void write_register(std::uint64_t offset, std::uint8_t value);
  void sender_is_empty();

  std::function<void(char)> sink_;
  std::function<void()> raise_;
  std::uint8_t interrupt_enable_ = 0, line_control_ = 0, modem_control_ = 0, scratch_ = 0;
  std::uint8_t divisor_low_ = 1, divisor_high_ = 0;
  bool fifo_ = false;
  bool empty_pending_ = false;  // "transmitter empty" is to be told
};

}  // namespace sandforge::vmm
