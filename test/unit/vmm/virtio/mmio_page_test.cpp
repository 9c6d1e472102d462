// SPDX-License-Identifier: Apache-2.0
// The page that a guest reads a device's registers from: it holds what read() would answer.
#include "vmm/virtio/mmio_transport.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstring>
#include <memory>

#include "vmm/devices/balloon.hpp"
#include "vmm/devices/fake_driver.hpp"

namespace sandforge::vmm::test {
namespace {

struct Shown {
  Shown() : driver(3) {
    auto device = std::make_unique<Balloon>();
    balloon = device.get();
    transport = std::make_unique<MmioTransport>(driver.memory(), std::move(device), [this] { ++interrupts; });
    transport->show_in(page);
  }
  std::uint32_t shown(std::size_t offset) const {
    std::uint32_t value = 0;
    std::memcpy(&value, page.data() + offset, sizeof value);
    return value;
  }
  bool agrees() const {
    for (std::size_t offset = 0; offset < page.size(); offset += 4) {
      if (shown(offset) != FakeDriver::read_register(*transport, offset)) return false;
    }
    return true;
  }

  FakeDriver driver;
  int interrupts = 0;
  alignas(4096) std::array<std::byte, kMmioWindow> page{};
  Balloon* balloon = nullptr;
  std::unique_ptr<MmioTransport> transport;
};

}  // namespace

TEST_CASE("the page of a device's registers follows every write of its driver") {
  Shown device;
  CHECK(device.agrees());
  for (const std::uint32_t select : {1u, 0u, 7u}) {
    FakeDriver::write_register(*device.transport, 0x014, select);
    CHECK(device.agrees());
  }
  REQUIRE(device.driver.negotiate(*device.transport));
  CHECK(device.agrees());
  for (const std::uint32_t queue : {0u, 1u, 2u}) {
    device.driver.set_up_queue(*device.transport, queue);
    CHECK(device.agrees());
  }
  FakeDriver::write_register(*device.transport, 0x030, 9);  // no such queue
  CHECK(device.agrees());
  FakeDriver::write_register(*device.transport, 0x070, 0);
  CHECK(device.agrees());
}

TEST_CASE("the page of an active device always says that buffers were used, and tells a new configuration") {
  Shown device;
  REQUIRE(device.driver.start(*device.transport));
  CHECK(device.shown(0x060) == 1);
  device.balloon->set_target(5);
  CHECK(device.interrupts == 1);
  CHECK(device.shown(0x060) == 3);
  CHECK(device.shown(0x100) == 5);
  FakeDriver::write_register(*device.transport, 0x064, 3);
  CHECK(device.shown(0x060) == 1);
  FakeDriver::write_register(*device.transport, 0x070, 0);
  CHECK(device.shown(0x060) == 0);
}

TEST_CASE("a queue with more entries than its device allows stops the device") {
  FakeDriver driver(3);
  MmioTransport transport(driver.memory(), std::make_unique<Balloon>(), [] {});
  REQUIRE(driver.negotiate(transport));
  CHECK(FakeDriver::read_register(transport, 0x034) == 64);
  for (const std::uint32_t queue : {0u, 1u, 2u}) {
    driver.set_up_queue(transport, queue);
    FakeDriver::write_register(transport, 0x038, 128);
  }
  FakeDriver::write_register(transport, 0x070, 0xf);
  CHECK(transport.needs_reset());
}

}  // namespace sandforge::vmm::test
