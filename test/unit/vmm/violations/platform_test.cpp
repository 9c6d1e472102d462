// SPDX-License-Identifier: Apache-2.0
// Violations of what stands around the virtio devices: I/O APIC, serial port, power ports, the guest's log, the bus and
// the hand-over from vCPU threads.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "base/limits.hpp"
#include "vmm/monitor/hand_over.hpp"
#include "vmm/monitor/log_sink.hpp"
#include "vmm/platform/io_apic.hpp"
#include "vmm/platform/power.hpp"
#include "vmm/platform/serial.hpp"

using namespace sandforge;
using namespace sandforge::vmm;

namespace {

// Every width at every offset of a range, with values that are all zeros, all ones and single bits.
void storm(Registers& registers, std::uint64_t range) {
  for (std::uint64_t offset = 0; offset < range; ++offset) {
    for (std::size_t width = 0; width <= 8; ++width) {
      std::vector<std::byte> bytes(width);
      registers.read(offset, bytes);
      for (unsigned bit = 0; bit < 8; ++bit) {
        for (const unsigned value : {0u, 0xffu, 1u << bit, ~(1u << bit) & 0xff}) {
          std::fill(bytes.begin(), bytes.end(), static_cast<std::byte>(value));
          registers.write(offset, bytes);
        }
      }
    }
  }
}

void write_u32(Registers& registers, std::uint64_t offset, std::uint32_t value) {
  registers.write(offset, std::as_bytes(std::span(&value, 1)));
}

}  // namespace

TEST_CASE("an I/O APIC sets no route but for its pins and to the local APICs, whatever is written to it") {
  constexpr std::uint32_t kPins = 12;
  int calls = 0;
  IoApic apic(kPins, [&](std::span<const MessageRoute> routes) -> base::Status {
    ++calls;
    CHECK(routes.size() <= kPins);
    for (const MessageRoute& route : routes) {
      REQUIRE(route.gsi < kPins);
      REQUIRE((route.address & ~std::uint64_t{0xff004}) == 0xfee00000);
      REQUIRE((route.data & ~0x7ffu) == 0);
    }
    return {};
  });
  SUBCASE("any access") { storm(apic, 0x20); }
  SUBCASE("any value of any register") {
    for (std::uint32_t select = 0; select < 256; ++select) {
      for (unsigned bit = 0; bit < 32; ++bit) {
        for (const std::uint32_t value : {0u, 0xffffffffu, 1u << bit, ~(1u << bit)}) {
          write_u32(apic, 0, select | 0xabcd00);
          write_u32(apic, 0x10, value);
        }
      }
    }
  }
  SUBCASE("the same again and again is told once") {
    for (int i = 0; i < 1000; ++i) {
      write_u32(apic, 0, 0x10);
      write_u32(apic, 0x10, 0x31);
    }
    CHECK(calls == 1);
  }
}

TEST_CASE("a serial port takes any access, and no more than one byte of output for each byte written") {
  std::uint64_t out = 0, raised = 0;
  Serial serial([&](char) { ++out; }, [&] { ++raised; });
  storm(serial, 16);
  CHECK(out <= 9 * 8 * 32);  // the accesses that can reach the data register, by width and value
  for (const std::uint64_t offset : {std::uint64_t{1} << 32, UINT64_MAX, UINT64_MAX - 3}) {
    std::vector<std::byte> bytes(8);
    serial.read(offset, bytes);
    serial.write(offset, bytes);
  }
}

TEST_CASE("only what means power-off or reset ends a machine") {
  std::vector<Ending> endings;
  Power power([&](Ending ending) { endings.push_back(ending); });
  for (unsigned value = 0; value < 256; ++value) {
    for (std::uint64_t offset = 0; offset < 16; ++offset) {
      endings.clear();
      const std::byte byte = static_cast<std::byte>(value);
      power.write(offset, std::span(&byte, 1));
      const bool off = offset == 0 && (value & 0x3c) == 0x34, reset = offset == 2 && value == 1;
      CAPTURE(offset);
      CAPTURE(value);
      CHECK(endings.size() == (off || reset ? 1 : 0));
    }
  }
  endings.clear();
  power.write(0, {});
  CHECK(endings.empty());
}

TEST_CASE("a guest's log ends at its cap, whoever reads it") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
  const base::UniqueFd reader(ends[0]), writer(ends[1]);
  constexpr std::size_t kCap = 64 * 1024;
  LogSink log(writer.get(), kCap);
  std::size_t read = 0;
  const bool reads = [] {
    bool out = false;
    SUBCASE("a reader that reads") { out = true; }
    SUBCASE("a reader that does not") {}
    return out;
  }();
  std::string sink(8192, '\0');
  for (std::size_t i = 0; i < 4 * kCap; ++i) {
    log.put(i % 2 == 0 ? '\n' : 'x');
    if (!reads || i % 512 != 0) continue;
    for (ssize_t n = 0; (n = ::read(reader.get(), sink.data(), sink.size())) > 0;) read += static_cast<std::size_t>(n);
  }
  log.flush();
  for (ssize_t n = 0; (n = ::read(reader.get(), sink.data(), sink.size())) > 0;) read += static_cast<std::size_t>(n);
  CHECK(read <= kCap + 200);  // and one line that says so
  if (reads) CHECK(read > kCap);
}

TEST_CASE("an access that leaves its range reaches nobody") {
  Power power([](Ending) {});
  Bus bus;
  bus.add(0x1000, 0x10, power);
  bus.add(UINT64_MAX - 0xf, 0x10, power);  // the last sixteen bytes there are
  const auto reaches = [&](std::uint64_t address, std::uint64_t width) {
    return bus.find(address, width).registers != nullptr;
  };
  CHECK(reaches(0x1000, 8));
  CHECK(reaches(0x100f, 1));
  CHECK_FALSE(reaches(0x100f, 2));
  CHECK_FALSE(reaches(0x1009, 8));
  CHECK_FALSE(reaches(0xfff, 2));
  CHECK_FALSE(reaches(0x1010, 1));
  CHECK_FALSE(reaches(0x1000, UINT64_MAX));
  CHECK(reaches(UINT64_MAX, 1));
  CHECK_FALSE(reaches(UINT64_MAX, 2));
  CHECK_FALSE(reaches(UINT64_MAX - 0xf, UINT64_MAX));
}

TEST_CASE("a storm of accesses from many vCPUs is served whole, one after the other") {
  struct Counter final : Registers {
    std::uint64_t reads = 0, writes = 0;
    int inside = 0;
    void read(std::uint64_t, std::span<std::byte> out) override {
      CHECK(++inside == 1);
      ++reads;
      std::fill(out.begin(), out.end(), std::byte{7});
      --inside;
    }
    void write(std::uint64_t, std::span<const std::byte>) override { ++writes; }
  } counter;
  constexpr int kThreads = 8, kAccesses = 300;
  auto created = HandOver::create();
  REQUIRE(created);
  HandOver hand_over = std::move(created).value();
  std::atomic<int> left{kThreads}, wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < kAccesses; ++n) {
        std::byte bytes[8]{};
        hand_over.perform({&counter, 0}, n % 2 == 0, bytes);
        if (n % 2 == 1 && bytes[7] != std::byte{7}) ++wrong;
      }
      --left;
    });
  }
  while (left > 0) {
    pollfd waiting{hand_over.wake_fd(), POLLIN, 0};
    if (::poll(&waiting, 1, 10) > 0) hand_over.serve();
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(counter.reads == kThreads * kAccesses / 2);
  CHECK(counter.writes == kThreads * kAccesses / 2);
}
