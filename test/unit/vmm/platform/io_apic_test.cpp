// SPDX-License-Identifier: Apache-2.0
#include "vmm/platform/io_apic.hpp"

#include <doctest/doctest.h>

#include <cstring>

using namespace sandforge;

namespace {

struct Fixture {
  std::vector<vmm::MessageRoute> routes;
  int updates = 0;
  vmm::IoApic apic{4, [this](std::span<const vmm::MessageRoute> given) {
                     routes.assign(given.begin(), given.end());
                     ++updates;
                   }};

  void set(std::uint32_t index, std::uint32_t value) {
    apic.write(0x00, std::as_bytes(std::span(&index, 1)));
    apic.write(0x10, std::as_bytes(std::span(&value, 1)));
  }
  std::uint32_t get(std::uint32_t index) {
    std::uint32_t value = 0;
    apic.write(0x00, std::as_bytes(std::span(&index, 1)));
    apic.read(0x10, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "an I/O APIC tells how many pins it has") { CHECK(get(1) == 0x00030011); }

TEST_CASE_FIXTURE(Fixture, "an unmasked pin becomes a message to its CPU, edge-triggered") {
  set(0x10 + 2 * 2 + 1, 3u << 24);
  CHECK(updates == 0);               // still masked
  set(0x10 + 2 * 2, 0x8000 | 0x31);  // level-triggered, vector 0x31
  REQUIRE(routes.size() == 1);
  CHECK(routes[0].gsi == 2);
  CHECK(routes[0].address == (0xfee00000 | (3u << 12)));
  CHECK(routes[0].data == 0x31);
  set(0x10 + 2 * 2, 0x10031);
  CHECK(routes.empty());
  CHECK(updates == 2);
}

TEST_CASE_FIXTURE(Fixture, "writes that change no route cost no update") {
  for (std::uint32_t pin = 0; pin < 4; ++pin) {
    set(0x10 + 2 * pin, 0x10000);
    set(0x10 + 2 * pin + 1, 0xff000000);
  }
  CHECK(updates == 0);
}

TEST_CASE_FIXTURE(Fixture, "registers beyond the table read as zero and change nothing") {
  for (std::uint32_t index = 0x18; index < 0x100; ++index) {
    set(index, 0xffff);
    CHECK(get(index) == 0);
  }
  CHECK(updates == 0);
  CHECK(get(0x12) == 0x10000);
}

TEST_CASE_FIXTURE(Fixture, "accesses of odd sizes and places are harmless") {
  std::byte bytes[8]{};
  for (std::uint64_t offset = 0; offset < 0x20; ++offset) {
    for (std::size_t size = 1; size <= 8; ++size) {
      apic.write(offset, std::span(bytes).first(size));
      apic.read(offset, std::span(bytes).first(size));
    }
  }
  CHECK(routes.empty());
}
