// SPDX-License-Identifier: Apache-2.0
#include "vmm/platform/serial.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace sandforge;

namespace {

struct Fixture {
  std::string sent;
  int raised = 0;
  vmm::Serial serial{[this](char byte) { sent += byte; }, [this] { ++raised; }};

  void out(std::uint64_t offset, std::uint8_t value) { serial.write(offset, std::as_bytes(std::span(&value, 1))); }
  std::uint8_t in(std::uint64_t offset) {
    std::uint8_t value = 0;
    serial.read(offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "bytes go out in order and the port is always ready for more") {
  for (const char byte : std::string("hello\n")) {
    CHECK((in(5) & 0x20) != 0);
    out(0, static_cast<std::uint8_t>(byte));
  }
  CHECK(sent == "hello\n");
  CHECK(raised == 0);
}

TEST_CASE_FIXTURE(Fixture, "an enabled transmit interrupt fires at once and after every byte, and is told once") {
  out(1, 2);
  CHECK(raised == 1);
  CHECK((in(2) & 0x0f) == 2);
  CHECK((in(2) & 0x0f) == 1);
  out(0, 'x');
  CHECK(raised == 2);
  CHECK((in(2) & 0x0f) == 2);
}

TEST_CASE_FIXTURE(Fixture, "the divisor latch and loop-back mode send nothing") {
  out(3, 0x80);
  out(0, 12);
  CHECK(in(0) == 12);
  out(3, 0x03);
  out(4, 0x1a);
  CHECK((in(6) & 0xf0) == 0x90);  // what drivers test for
  out(0, 'x');
  CHECK(sent.empty());
}
