// SPDX-License-Identifier: Apache-2.0
#include "vmm/devices/rng.hpp"

#include <doctest/doctest.h>

#include <set>

#include "base/limits.hpp"
#include "vmm/devices/fake_driver.hpp"

using namespace sandforge;

namespace {

struct Fixture {
  vmm::test::FakeDriver driver{1};
  vmm::Rng device;
  Fixture() { REQUIRE(device.activate(driver.activation())); }
};

}  // namespace

TEST_CASE("virtio-rng is type 4 with one queue, no features and no configuration") {
  vmm::Rng device;
  CHECK(device.type() == vmm::DeviceType::Rng);
  CHECK(device.features() == 0);
  CHECK(device.queue_count() == 1);
  std::array<std::byte, 8> config{};
  device.read_config(0, config);
  CHECK(config == std::array<std::byte, 8>{});
}

TEST_CASE_FIXTURE(Fixture, "every request is filled, each with other bytes, and one interrupt tells of all") {
  for (int i = 0; i < 8; ++i) driver.offer(0, {}, 64);
  CHECK(device.kick(0));
  const auto used = driver.used(0);
  REQUIRE(used.size() == 8);
  for (const std::string& bytes : used) {
    CHECK(bytes.size() == 64);
    // 64 equal bytes would be one in 2^504.
    CHECK(std::set<char>(bytes.begin(), bytes.end()).size() > 1);
  }
  CHECK(std::set<std::string>(used.begin(), used.end()).size() == 8);
  CHECK(driver.interrupt().used == 1);
}

TEST_CASE_FIXTURE(Fixture, "a request gets 64 KiB at most, and what lies behind stays as it was") {
  const std::string marks(100'000, 'm');
  const std::uint64_t address = driver.take(marks);
  driver.describe_raw(0, 0, {address, 100'000, vmm::test::kWrite, 0});
  driver.publish(0, 0);
  CHECK(device.kick(0));
  const auto used = driver.used(0);
  REQUIRE(used.size() == 1);
  CHECK(used[0].size() == limits::kRngRequestBytes);
  std::string rest(100'000 - limits::kRngRequestBytes, '\0');
  CHECK(driver.memory().read(vmm::GuestAddress{address + limits::kRngRequestBytes},
                             std::as_writable_bytes(std::span(rest))));
  CHECK(rest == marks.substr(limits::kRngRequestBytes));
}

TEST_CASE_FIXTURE(Fixture, "a driver that asks for much gets it in turns, and others are heard in between") {
  for (int i = 0; i < 16; ++i) driver.offer(0, {}, 64 * 1024);
  std::size_t served = 0;
  for (int turn = 0; turn < 5; ++turn) {
    CHECK(device.kick(0));
    const std::size_t now = driver.used(0).size();
    CHECK(now <= limits::kRngTurnBytes / limits::kRngRequestBytes);
    served += now;
    CHECK(driver.interrupt().again.size() == static_cast<std::size_t>(std::min(turn + 1, 4)));
  }
  CHECK(served == 16);
}

TEST_CASE_FIXTURE(Fixture, "after a reset nothing is served until the device is activated again") {
  device.reset();
  driver.offer(0, {}, 64);
  CHECK(driver.used(0).empty());
  REQUIRE(device.activate(driver.activation()));
  CHECK(device.kick(0));
  CHECK(driver.used(0).size() == 1);
}
