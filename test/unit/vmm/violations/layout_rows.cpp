// SPDX-License-Identifier: Apache-2.0
// Rings where they must not be: the registers are honest but for one thing, then DRIVER_OK.
#include "vmm/violations/bench.hpp"

namespace sandforge::vmm::test {
namespace {

struct Layout {
  std::uint32_t size = FakeDriver::kSize, ready = 1;
  std::uint64_t descriptors = 0, available = 0, used = 0;
  std::uint32_t times_largest = 0;  // instead of `size`, when not 0
};
enum class Outcome { Refused, Taken };

// With Taken the rings are used once, whatever comes of it.
Row<Bench> row(std::uint32_t queue, const char* name, Outcome outcome, std::function<void(Layout&)> change) {
  return {name, [=](Bench& bench) {
            Layout layout{FakeDriver::kSize, 1, bench.driver.descriptors(queue).value,
                          bench.driver.available(queue).value, bench.driver.used_ring(queue).value};
            change(layout);
            REQUIRE(bench.driver.negotiate(*bench.transport));
            for (std::uint32_t i = 0; i < bench.queues(); ++i) bench.driver.set_up_queue(*bench.transport, i);
            bench.write(reg::kQueueSelect, queue);
            if (layout.times_largest > 0) layout.size = layout.times_largest * bench.read(reg::kQueueNumMax);
            bench.write(reg::kQueueNum, layout.size);
            bench.write_address(reg::kQueueDescLow, layout.descriptors);
            bench.write_address(reg::kQueueDriverLow, layout.available);
            bench.write_address(reg::kQueueDeviceLow, layout.used);
            bench.write(reg::kQueueReady, layout.ready);
            const std::uint32_t before = bench.read(reg::kInterruptStatus);
            CHECK(before == 0);
            bench.write(reg::kStatus, bench.read(reg::kStatus) | status::kDriverOk);
            CHECK(bench.broken() == (outcome == Outcome::Refused));
            // The driver is told of it.
            CHECK(bench.read(reg::kInterruptStatus) == (outcome == Outcome::Refused ? 2u : 0u));
            bench.driver.put(GuestAddress{layout.available + 2}, std::uint16_t{1});
            bench.look(queue);
            bench.look(queue);
          }};
}

constexpr std::uint64_t kLowEnd = GuardedMemory::kLowBytes;
constexpr std::uint64_t kHigh = GuardedMemory::kHighStart, kHighEnd = kHigh + GuardedMemory::kHighBytes;
constexpr std::uint64_t kTable = 16 * FakeDriver::kSize, kAvailable = 6 + 2 * FakeDriver::kSize,
                        kUsed = 6 + 8 * FakeDriver::kSize;

void add_sizes(Rows<Bench>& rows, std::uint32_t q) {
  const auto size = [](std::uint32_t value) { return [value](Layout& layout) { layout.size = value; }; };
  rows.push_back(row(q, "queue size 0 is refused", Outcome::Refused, size(0)));
  rows.push_back(row(q, "queue size 1 is taken", Outcome::Taken, size(1)));
  rows.push_back(row(q, "queue size 2 is taken", Outcome::Taken, size(2)));
  rows.push_back(row(q, "queue size 3 is refused", Outcome::Refused, size(3)));
  rows.push_back(row(q, "queue size 63 is refused", Outcome::Refused, size(63)));
  rows.push_back(row(q, "queue size 255 is refused", Outcome::Refused, size(255)));
  rows.push_back(row(q, "the largest queue size that the device names is taken", Outcome::Taken,
                     [](Layout& layout) { layout.times_largest = 1; }));
  rows.push_back(row(q, "twice the largest queue size that the device names is refused", Outcome::Refused,
                     [](Layout& layout) { layout.times_largest = 2; }));
  rows.push_back(row(q, "queue size 257 is refused", Outcome::Refused, size(257)));
  rows.push_back(row(q, "queue size 512 is refused", Outcome::Refused, size(512)));
  rows.push_back(row(q, "queue size 32768 is refused", Outcome::Refused, size(32768)));
  rows.push_back(row(q, "queue size 65536 is no 0 and refused", Outcome::Refused, size(65536)));
  rows.push_back(row(q, "queue size 65536 + 64 is no 64 and refused", Outcome::Refused, size(65536 + 64)));
  rows.push_back(row(q, "queue size 2^31 is refused", Outcome::Refused, size(1u << 31)));
  rows.push_back(row(q, "queue size 2^32 - 1 is refused", Outcome::Refused, size(0xffffffff)));
  rows.push_back(row(q, "a queue that is not ready is refused", Outcome::Refused, [](Layout& l) { l.ready = 0; }));
  rows.push_back(row(q, "a queue whose ready is 2 is refused", Outcome::Refused, [](Layout& l) { l.ready = 2; }));
  rows.push_back(
      row(q, "a queue whose ready is 2^32 - 1 is refused", Outcome::Refused, [](Layout& l) { l.ready = 0xffffffff; }));
}

// The same for each of the three rings.
void add_places(Rows<Bench>& rows, std::uint32_t q, const std::string& ring, std::uint64_t Layout::*place,
                std::uint64_t bytes, std::uint64_t alignment) {
  const auto add = [&](const char* what, Outcome outcome, std::uint64_t address) {
    rows.push_back(row(q, "", outcome, [=](Layout& layout) { layout.*place = address; }));
    rows.back().name = ring + " " + what;
  };
  add("just past the end of memory is refused", Outcome::Refused, kLowEnd);
  add("in a hole is refused", Outcome::Refused, 0x8000'0000);
  add("that ends beyond memory is refused", Outcome::Refused, kLowEnd - bytes / 16 * 16 + 16);
  add("whose last byte is beyond memory is refused", Outcome::Refused,
      (kLowEnd - bytes) / alignment * alignment + alignment);
  add("that ends where memory ends is taken", Outcome::Taken, (kLowEnd - bytes) / alignment * alignment);
  add("in the highest memory is taken", Outcome::Taken, kHigh);
  add("beyond the highest memory is refused", Outcome::Refused, kHighEnd);
  add("just before the highest memory is refused", Outcome::Refused, kHigh - 16);
  add("at the top of the address space is refused", Outcome::Refused, UINT64_MAX / 16 * 16);
  add("that wraps into low memory is refused", Outcome::Refused, 0 - bytes / 2 / 16 * 16);
  add("with only its high half set is refused", Outcome::Refused, 0xffff'ffff'0000'0000);
  add("at an odd address is refused", Outcome::Refused, 0x40001);
  if (alignment > 2) add("at half of its alignment is refused", Outcome::Refused, 0x40000 + alignment / 2);
}

void add_overlaps(Rows<Bench>& rows, std::uint32_t q) {
  const auto add = [&](const char* name, std::function<void(Layout&)> change) {
    rows.push_back(row(q, name, Outcome::Taken, std::move(change)));
  };
  add("three rings at one address harm nobody", [](Layout& l) { l.available = l.used = l.descriptors; });
  add("a used ring over the available ring harms nobody", [](Layout& l) { l.used = l.available; });
  add("a used ring over the descriptors harms nobody", [](Layout& l) { l.used = l.descriptors; });
  add("a used ring two bytes into the available ring's index harms nobody",
      [](Layout& l) { l.available = 0x40002, l.used = 0x40000; });
  add("an available ring over the descriptors harms nobody", [](Layout& l) { l.available = l.descriptors; });
  add("rings over the buffers harm nobody", [](Layout& l) {
    l.descriptors = FakeDriver::kBuffers, l.available = FakeDriver::kBuffers + 16, l.used = FakeDriver::kBuffers + 32;
  });
}

}  // namespace

Rows<Bench> layout_rows(std::uint32_t queue) {
  Rows<Bench> rows;
  add_sizes(rows, queue);
  add_places(rows, queue, "a descriptor table", &Layout::descriptors, kTable, 16);
  add_places(rows, queue, "an available ring", &Layout::available, kAvailable, 2);
  add_places(rows, queue, "a used ring", &Layout::used, kUsed, 4);
  add_overlaps(rows, queue);
  return rows;
}

}  // namespace sandforge::vmm::test
