// SPDX-License-Identifier: Apache-2.0
#include "backend/privilege.hpp"

#include <doctest/doctest.h>

using namespace sandforge::backend;

namespace {
constexpr const char* kWholeHost = "         0          0 4294967295\n";
}

TEST_CASE("a guest of the host's root gets an id out of the guests' own range") {
  CHECK(choose_guest_id(kWholeHost, kWholeHost, 0) == kGuestIdBase);
  CHECK(choose_guest_id(kWholeHost, kWholeHost, 0xffffffff) == (kGuestIdBase | kGuestIdMask));
}

TEST_CASE("in a container's user namespace, which lacks that range, a guest runs as nobody") {
  const char* container = "0 1000 1\n1 100000 65536\n";
  CHECK(choose_guest_id(container, container, 7) == 65534);
}

TEST_CASE("where only root is mapped, or the maps cannot be read, a guest stays root") {
  CHECK(choose_guest_id("0 1000 1\n", "0 1000 1\n", 7) == 0);
  CHECK(choose_guest_id(kWholeHost, "0 1000 1\n", 7) == 0);
  CHECK(choose_guest_id("", "", 7) == 0);
  CHECK(choose_guest_id("garbage\n", "garbage", 7) == 0);
}

TEST_CASE("no two guests of one engine have the same id at a time, and an id that came back can be given again") {
  GuestIds ids;
  std::set<std::uint32_t> taken;
  for (int i = 0; i < 200; ++i) {
    const auto taken_id = ids.take();
    REQUIRE(taken_id);
    const std::uint32_t id = taken_id.value();
    if (id < kGuestIdBase) return;  // this process cannot give ids of the range
    CHECK(taken.insert(id).second);
  }
  for (const std::uint32_t id : taken) ids.give_back(id);
  CHECK(ids.take().value() >= kGuestIdBase);
}

TEST_CASE("a guest never stays root, nor gets an id in use, because no other was to be had") {
  GuestIds same([]() -> sandforge::base::Result<std::uint32_t> { return kGuestIdBase; });
  CHECK(same.take().value() == kGuestIdBase);
  const auto second = same.take();
  REQUIRE_FALSE(second);
  CHECK(second.error().reason == "guest_ids");
  same.give_back(kGuestIdBase);
  CHECK(same.take().value() == kGuestIdBase);
  GuestIds broken([]() -> sandforge::base::Result<std::uint32_t> {
    return sandforge::base::os_error("choose a user id for a guest", EAGAIN);
  });
  CHECK_FALSE(broken.take());
}
