// SPDX-License-Identifier: Apache-2.0
// SPEC: National Semiconductor PC16550D data sheet, section 8 (registers).
#include "vmm/platform/serial.hpp"

namespace sandforge::vmm {
namespace {

constexpr std::uint8_t kDivisorLatch = 0x80;                           // line control
constexpr std::uint8_t kLoop = 0x10;                                   // modem control
constexpr std::uint8_t kEmptyEnable = 0x02;                            // interrupt enable: transmitter empty
constexpr std::uint8_t kNothing = 0x01, kEmpty = 0x02, kFifos = 0xc0;  // interrupt identification
constexpr std::uint8_t kReadyToSend = 0x60;                            // line status: both transmit registers empty
constexpr std::uint8_t kModemPresent = 0xb0;                           // modem status: CTS, DSR, DCD

}  // namespace

void Serial::read(std::uint64_t offset, std::span<std::byte> out) {
  for (std::byte& byte : out) byte = std::byte{read_register(offset++)};
}

void Serial::write(std::uint64_t offset, std::span<const std::byte> in) {
  for (const std::byte byte : in) write_register(offset++, static_cast<std::uint8_t>(byte));
}

std::uint8_t Serial::read_register(std::uint64_t offset) {
  const bool latch = (line_control_ & kDivisorLatch) != 0;
  switch (offset) {
    case 0: return latch ? divisor_low_ : 0;
    case 1: return latch ? divisor_high_ : interrupt_enable_;
    case 2: {
      const bool tell = empty_pending_ && (interrupt_enable_ & kEmptyEnable) != 0;
      if (tell) empty_pending_ = false;  // reading it is what acknowledges it
      return static_cast<std::uint8_t>((tell ? kEmpty : kNothing) | (fifo_ ? kFifos : 0));
    }
    case 3: return line_control_;
    case 4: return modem_control_;
    case 5: return kReadyToSend;
    case 6: {
      if ((modem_control_ & kLoop) == 0) return kModemPresent;
      // In loop-back mode the four outputs are the four inputs: RTS-CTS, DTR-DSR, OUT1-RI, OUT2-DCD.
      const std::uint8_t out = modem_control_;
      return static_cast<std::uint8_t>(((out & 2) << 3) | ((out & 1) << 5) | ((out & 4) << 4) | ((out & 8) << 4));
    }
    case 7: return scratch_;
    default: return 0;
  }
}

void Serial::write_register(std::uint64_t offset, std::uint8_t value) {
  const bool latch = (line_control_ & kDivisorLatch) != 0;
  switch (offset) {
    case 0:
      if (latch) {
        divisor_low_ = value;
        break;
      }
      if ((modem_control_ & kLoop) == 0) sink_(static_cast<char>(value));
      sender_is_empty();
      break;
    case 1: {
      if (latch) {
        divisor_high_ = value;
        break;
      }
      const bool newly = (value & ~interrupt_enable_ & kEmptyEnable) != 0;
      interrupt_enable_ = value & 0x0f;
      if (newly) sender_is_empty();
      break;
    }
    case 2: fifo_ = (value & 1) != 0; break;
    case 3: line_control_ = value; break;
    case 4: modem_control_ = value & 0x1f; break;
    case 7: scratch_ = value; break;
    default: break;
  }
}

void Serial::sender_is_empty() {
  empty_pending_ = true;
  if ((interrupt_enable_ & kEmptyEnable) != 0) raise_();
}

}  // namespace sandforge::vmm
