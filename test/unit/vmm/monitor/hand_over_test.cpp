// SPDX-License-Identifier: Apache-2.0
#include "vmm/monitor/hand_over.hpp"

#include <doctest/doctest.h>
#include <sys/epoll.h>

#include <array>
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "vmm/monitor/loop.hpp"

using namespace sandforge;

namespace {

// Counts without a lock: only right when all accesses come from one thread.
struct Counter final : vmm::Registers {
  std::uint64_t count = 0;
  void read(std::uint64_t, std::span<std::byte> out) override { std::memcpy(out.data(), &count, out.size()); }
  void write(std::uint64_t, std::span<const std::byte>) override { ++count; }
};

}  // namespace

TEST_CASE("accesses of many threads are served one after the other and answered") {
  auto loop = vmm::Loop::create();
  auto hand_over = vmm::HandOver::create();
  REQUIRE(loop);
  REQUIRE(hand_over);
  constexpr int kThreads = 4, kAccesses = 500;
  Counter counter;
  std::atomic<int> running{kThreads};
  REQUIRE(loop.value()->add(hand_over.value().wake_fd(), EPOLLIN, [&](std::uint32_t) {
    hand_over.value().serve();
    if (counter.count == kThreads * kAccesses) loop.value()->stop();
  }));
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      std::array<std::byte, 8> bytes{};
      std::uint64_t before = 0;
      for (int n = 0; n < kAccesses; ++n) {
        if (n + 1 < kAccesses) {
          hand_over.value().perform({&counter, 0}, false, bytes);
          std::uint64_t now = 0;
          std::memcpy(&now, bytes.data(), sizeof now);
          if (now < before) ++running;  // must never go back
          before = now;
        }
        hand_over.value().perform({&counter, 0}, true, bytes);
      }
      --running;
    });
  }
  CHECK(loop.value()->run());
  for (std::thread& thread : threads) thread.join();
  CHECK(running == 0);
  CHECK(counter.count == kThreads * kAccesses);
}

TEST_CASE("a bus finds whole accesses within a range and nothing else") {
  vmm::Bus bus;
  Counter counter;
  bus.add(0x1000, 0x10, counter);
  CHECK(bus.find(0x1000, 4).registers == &counter);
  CHECK(bus.find(0x100c, 4).offset == 0xc);
  CHECK(bus.find(0x100d, 4).registers == nullptr);
  CHECK(bus.find(0xfff, 2).registers == nullptr);
  CHECK(bus.find(UINT64_MAX, 8).registers == nullptr);
}
