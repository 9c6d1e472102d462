// SPDX-License-Identifier: Apache-2.0
// Who answers at which port or address. Filled before the guest runs, only read afterwards, by any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sandforge::vmm {

// Registers that a guest can reach. Called on the device loop's thread, but for access_at_once, with 1 to 8 bytes at
// `offset` into the range.
// Never fails: nonsense reads as something and writes nothing.
class Registers {
 public:
  virtual ~Registers() = default;
  virtual void read(std::uint64_t offset, std::span<std::byte> out) = 0;
  virtual void write(std::uint64_t offset, std::span<const std::byte> in) = 0;
  // Any thread, without waiting: performs the access if it is one of the few that every interrupt costs. False: it is
  // for the loop.
  virtual bool access_at_once(std::uint64_t /*offset*/, bool /*write*/, std::span<std::byte> /*data*/) noexcept {
    return false;
  }
};

class Bus {
 public:
  struct Target {
    Registers* registers = nullptr;  // null: nobody is there
    std::uint64_t offset = 0;
  };

  // Precondition: ranges do not overlap. `registers` outlives the bus.
  void add(std::uint64_t start, std::uint64_t size, Registers& registers) {
    ranges_.push_back({start, size, &registers});
  }
  // An access that leaves its range reaches nobody.
  Target find(std::uint64_t address, std::uint64_t width) const noexcept {
    for (const Range& range : ranges_) {
      if (address < range.start) continue;
      const std::uint64_t offset = address - range.start;
      if (offset < range.size && width <= range.size - offset) return {range.registers, offset};
    }
    return {};
  }

 private:
  struct Range {
    std::uint64_t start, size;
    Registers* registers;
  };
  std::vector<Range> ranges_;
};

}  // namespace sandforge::vmm
