// SPDX-License-Identifier: Apache-2.0
#include "vmm/memory/guest_memory.hpp"

#include <doctest/doctest.h>

#include <array>

using namespace sandforge::vmm;

TEST_CASE("a range is the guest's when the whole of it lies in one region, whatever its numbers are") {
  std::array<std::byte, 0x3000> bytes{};
  const GuestMemory memory({{GuestAddress{0x1000}, 0x1000, bytes.data()},
                            {GuestAddress{0x2000}, 0x1000, bytes.data() + 0x1000},
                            {GuestAddress{UINT64_MAX - 0xfff}, 0xfff, bytes.data() + 0x2000}});
  const auto contains = [&](std::uint64_t address, std::uint64_t length) {
    iovec range{};
    const bool yes = memory.contains(GuestAddress{address}, length);
    CHECK(memory.io_range(GuestAddress{address}, length, range) == yes);
    return yes;
  };
  CHECK(contains(0x1000, 0x1000));
  CHECK(contains(0x1fff, 1));
  CHECK_FALSE(contains(0xfff, 1));
  CHECK_FALSE(contains(0x1000, 0x1001));  // the next region is no part of it
  CHECK_FALSE(contains(0x1fff, 2));
  CHECK_FALSE(contains(0x3000, 0));
  for (const std::uint64_t length : {UINT64_MAX, UINT64_MAX - 0xfff, UINT64_MAX - 0x1fff, std::uint64_t{1} << 63}) {
    for (const std::uint64_t address : {0x1000ull, 0x1001ull, 0x1fffull, 0x2fffull})
      CHECK_FALSE(contains(address, length));
  }
  CHECK(contains(UINT64_MAX - 1, 1));
  CHECK_FALSE(contains(UINT64_MAX, 0));
  CHECK_FALSE(contains(UINT64_MAX, 1));
  // Sums that wrap are beyond everything.
  CHECK((GuestAddress{UINT64_MAX - 1} + 2).value == UINT64_MAX);
  CHECK_FALSE(contains((GuestAddress{0x1000} + UINT64_MAX).value, 1));
}

TEST_CASE("ring indices are only read and written where they are aligned") {
  alignas(8) std::array<std::byte, 16> bytes{};
  const GuestMemory memory({{GuestAddress{0}, bytes.size(), bytes.data()}});
  std::uint16_t value = 0;
  CHECK(memory.store_u16(GuestAddress{14}, 7));
  CHECK(memory.load_u16(GuestAddress{14}, value));
  CHECK(value == 7);
  CHECK_FALSE(memory.load_u16(GuestAddress{13}, value));
  CHECK_FALSE(memory.store_u16(GuestAddress{15}, 1));
  CHECK_FALSE(memory.store_u16(GuestAddress{16}, 1));
}
