// SPDX-License-Identifier: Apache-2.0
#include "vmm/devices/fs.hpp"

#include <doctest/doctest.h>

#include "vmm/violations/fs_bench.hpp"

using namespace sandforge;
using namespace sandforge::vmm::test;

namespace {

struct Fixture : FsBench {
  Fixture() { build(), start(); }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "virtio-fs is type 26 with its tag and one request queue in its configuration") {
  CHECK(read(reg::kDeviceId) == 26);
  std::string config(44, '?');
  transport->read(reg::kConfig, std::as_writable_bytes(std::span(config)));
  CHECK(config.substr(0, 9) == "sandforge");
  CHECK(config.substr(9, 27) == std::string(27, '\0'));
  CHECK(config.substr(36) == std::string("\1\0\0\0\0\0\0\0", 8));
}

TEST_CASE_FIXTURE(Fixture, "a request reaches the server as it is, but for its number, and the answer the guest") {
  send(fs::request(FUSE_LOOKUP, 1234, std::string("file\0", 5)), 200);
  const auto messages = received();
  REQUIRE(messages.size() == 1);
  CHECK(messages[0].substr(16) == fs::request(FUSE_LOOKUP, 0, std::string("file\0", 5)).substr(16));
  CHECK(interrupts == 0);
  say(fs::answer(number_of(messages[0]), "entry"));
  CHECK(answered() == fs::answer(1234, "entry"));
  CHECK(interrupts == 1);
}

TEST_CASE_FIXTURE(Fixture, "answers come in any order") {
  for (std::uint64_t unique = 1; unique <= 20; ++unique) send(fs::request(FUSE_GETATTR, unique), 64);
  auto messages = received();
  REQUIRE(messages.size() == 20);
  for (std::uint64_t unique = 20; unique >= 1; --unique) {
    say(fs::answer(number_of(messages[unique - 1]), std::to_string(unique)));
    CHECK(answered() == fs::answer(unique, std::to_string(unique)));
  }
}

TEST_CASE_FIXTURE(Fixture, "a write that the socket cannot take at once arrives whole, and those behind it in order") {
  for (char c = 'a'; c < 'h'; ++c) send(fs::request(FUSE_WRITE, 1, std::string(64'000, c)), 64);
  const auto messages = received();
  REQUIRE(messages.size() == 7);
  for (std::size_t i = 0; i < 7; ++i) {
    CHECK(messages[i].substr(40) == std::string(64'000, static_cast<char>('a' + i)));
  }
}

TEST_CASE_FIXTURE(Fixture, "a forget is given back once the server has it") {
  send(fs::request(FUSE_FORGET, 5, std::string(8, '\1')), 0, fs::kHighPriority);
  CHECK(driver.used_index(fs::kHighPriority) == 1);
  CHECK(received().size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "without its server every request is answered by EIO at once, after a reset too") {
  send(fs::request(FUSE_READ, 8), 64);
  hang_up();
  CHECK(answered() == fs::answer(8, {}, -EIO));
  send(fs::request(FUSE_READ, 9), 64);
  CHECK(answered() == fs::answer(9, {}, -EIO));
  CHECK(watcher.size() == 0);
  write(reg::kStatus, 0);
  start();
  driver.used(fs::kRequests);
  send(fs::request(FUSE_INIT, 10), 64);
  CHECK(answered() == fs::answer(10, {}, -EIO));
}
