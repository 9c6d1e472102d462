// SPDX-License-Identifier: Apache-2.0
#include "vmm/devices/balloon.hpp"

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/devices/fake_driver.hpp"

using namespace sandforge;
using vmm::GuestAddress;
using vmm::test::kWrite;

namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kReporting = 1ull << 5;

struct Fixture {
  vmm::test::FakeDriver driver{3};
  vmm::Balloon device;
  Fixture() { REQUIRE(device.activate(driver.activation())); }

  void fill(std::uint64_t page, std::uint64_t pages = 1) {
    std::memset(driver.host() + page * kPage, 'x', pages * kPage);
  }
  // Whether the page is as it was filled, or as memory is before a guest starts.
  bool kept(std::uint64_t page) const {
    const auto* bytes = reinterpret_cast<const char*>(driver.host() + page * kPage);
    const std::string_view whole(bytes, kPage);
    const bool is_kept = whole == std::string(kPage, 'x');
    CHECK((is_kept || whole == std::string(kPage, '\0')));
    return is_kept;
  }
  base::Status send(std::size_t queue, const std::vector<std::uint32_t>& numbers) {
    driver.offer(queue, {reinterpret_cast<const char*>(numbers.data()), numbers.size() * 4}, 0);
    return device.kick(queue);
  }
  base::Status report(std::uint64_t address, std::uint32_t length) {
    driver.describe_raw(2, 0, {address, length, kWrite, 0});
    driver.publish(2, 0);
    return device.kick(2);
  }
};

}  // namespace

TEST_CASE("virtio-balloon is type 5 with the queues that its features call for") {
  vmm::Balloon device;
  CHECK(device.type() == vmm::DeviceType::Balloon);
  CHECK(device.features() == ((1ull << 2) | kReporting));
  CHECK(device.queue_count() == 3);
  CHECK(device.queues_needed(kReporting) == 3);
  CHECK(device.queues_needed(0) == 2);
}

TEST_CASE_FIXTURE(Fixture, "pages of an inflate request go back to the host, their neighbours stay") {
  fill(200, 8);
  CHECK(send(0, {201, 204, 203, 206, 203}));
  const std::vector<bool> expected{true, false, true, false, false, true, false, true};
  for (std::uint64_t i = 0; i < 8; ++i) {
    INFO("page ", i);
    CHECK(kept(200 + i) == expected[i]);
  }
  CHECK(device.released_bytes() == 4 * kPage);
  CHECK(driver.used(0).size() == 1);
  CHECK(driver.interrupt().used == 1);
}

TEST_CASE_FIXTURE(Fixture, "a deflate request is taken note of and changes no page") {
  fill(200);
  CHECK(send(1, {200}));
  CHECK(kept(200));
  CHECK(driver.used(1).size() == 1);
  CHECK(device.released_bytes() == 0);
}

TEST_CASE_FIXTURE(Fixture, "reported memory goes back to the host, by whole pages that lie inside the report") {
  fill(200, 4);
  CHECK(report(200 * kPage + 1, 3 * kPage));  // reaches one byte into page 203
  CHECK(kept(200));
  CHECK_FALSE(kept(201));
  CHECK_FALSE(kept(202));
  CHECK(kept(203));
  CHECK(report(203 * kPage + 100, 200));
  CHECK(kept(203));
  CHECK(driver.used_index(2) == 2);
  CHECK(device.released_bytes() == 2 * kPage);
}

TEST_CASE_FIXTURE(Fixture, "a page that is given back is no longer resident") {
  fill(200, 2);
  unsigned char resident[2] = {};
  CHECK(report(200 * kPage, kPage));
  REQUIRE(::mincore(driver.host() + 200 * kPage, 2 * kPage, resident) == 0);
  CHECK((resident[0] & 1) == 0);
  CHECK((resident[1] & 1) == 1);
}

TEST_CASE_FIXTURE(Fixture,
                  "a page of a file that was mapped copy-on-write shows the file again, which stays as it was") {
  const int file = ::memfd_create("kernel", MFD_CLOEXEC);
  const std::string content(kPage, 'k');
  REQUIRE(::write(file, content.data(), kPage) == static_cast<ssize_t>(kPage));
  std::byte* page = driver.host() + 200 * kPage;
  REQUIRE(::mmap(page, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file, 0) == page);
  fill(200);
  CHECK(report(200 * kPage, kPage));
  CHECK(std::string_view(reinterpret_cast<const char*>(page), kPage) == content);
  std::string now(kPage, '\0');
  CHECK(::pread(file, now.data(), kPage, 0) == static_cast<ssize_t>(kPage));
  CHECK(now == content);
  ::close(file);
}

TEST_CASE_FIXTURE(Fixture, "the host's wish is a change of configuration, and the driver's answer is kept") {
  device.set_target(100);
  CHECK(driver.interrupt().changed == 1);
  device.set_target(100);
  CHECK(driver.interrupt().changed == 1);
  std::array<std::uint32_t, 2> config{};
  device.read_config(0, std::as_writable_bytes(std::span(config)));
  CHECK(config[0] == 100);
  const std::uint32_t actual = 42;
  device.write_config(4, std::as_bytes(std::span(&actual, 1)));
  CHECK(device.actual() == 42);
  device.write_config(0, std::as_bytes(std::span(&actual, 1)));
  device.read_config(0, std::as_writable_bytes(std::span(config)));
  CHECK(config == std::array<std::uint32_t, 2>{100, 42});
  device.reset();
  CHECK(device.actual() == 0);
}
