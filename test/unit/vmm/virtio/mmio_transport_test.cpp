// SPDX-License-Identifier: Apache-2.0
// What of a transport's registers is served without the device loop. The rest of them: violations/registers.cpp.
#include "vmm/virtio/mmio_transport.hpp"

#include <doctest/doctest.h>

#include "vmm/devices/fake_driver.hpp"
#include "vmm/devices/rng.hpp"

using namespace sandforge::vmm;

TEST_CASE("an interrupt is read and acknowledged without the loop, and every other register is left to it") {
  test::FakeDriver driver(1);
  MmioTransport transport(driver.memory(), std::make_unique<Rng>(), [] {});
  std::uint32_t value = 0;
  const auto bytes = std::as_writable_bytes(std::span(&value, 1));
  CHECK(transport.access_at_once(test::reg::kInterruptStatus, false, bytes));
  CHECK(value == 0);
  transport.queues_used();
  transport.config_changed();
  CHECK(transport.access_at_once(test::reg::kInterruptStatus, false, bytes));
  CHECK(value == 3);
  value = 1;
  CHECK(transport.access_at_once(test::reg::kInterruptAck, true, bytes));
  CHECK(test::FakeDriver::read_register(transport, test::reg::kInterruptStatus) == 2);

  for (std::uint64_t offset = 0; offset < kMmioWindow; ++offset) {
    if (offset != test::reg::kInterruptStatus) CHECK_FALSE(transport.access_at_once(offset, false, bytes));
    if (offset != test::reg::kInterruptAck) CHECK_FALSE(transport.access_at_once(offset, true, bytes));
  }
  CHECK_FALSE(transport.access_at_once(test::reg::kInterruptStatus, false, bytes.first(2)));
  CHECK_FALSE(transport.access_at_once(test::reg::kInterruptAck, true, bytes.first(1)));
}
