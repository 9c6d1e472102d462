// SPDX-License-Identifier: Apache-2.0
// Violations within the rings of one queue, for any device that takes from it.
#include <random>

#include "vmm/violations/bench.hpp"
#include "vmm/violations/second_vcpu.hpp"

namespace sandforge::vmm::test {
namespace {

using D = RawDescriptor;
constexpr std::uint16_t kSize = FakeDriver::kSize;
constexpr std::uint64_t kBuffer = FakeDriver::kBuffers, kLowEnd = GuardedMemory::kLowBytes;
constexpr std::uint64_t kHigh = GuardedMemory::kHighStart, kHighEnd = kHigh + GuardedMemory::kHighBytes;

enum class Outcome { Refused, Survived };

// Lays the descriptors from number 0 on, makes number 0 available and lets the device look.
Row<Bench> chain(std::uint32_t queue, const char* name, Outcome outcome, std::vector<D> descriptors) {
  return {name, [=](Bench& bench) {
            for (std::uint32_t i = 0; i < descriptors.size(); ++i) bench.driver.describe_raw(queue, i, descriptors[i]);
            bench.driver.publish(queue, 0);
            bench.look(queue);
            if (outcome == Outcome::Refused) {
              CHECK(bench.broken());
              CHECK(bench.driver.used_index(queue) == 0);
              CHECK((bench.read(reg::kInterruptStatus) & 2) != 0);
            }
          }};
}

void add_loops(Rows<Bench>& rows, std::uint32_t q) {
  const auto refused = [&](const char* name, std::vector<D> d) {
    rows.push_back(chain(q, name, Outcome::Refused, std::move(d)));
  };
  refused("a descriptor that follows itself is refused", {{kBuffer, 64, kNext, 0}});
  refused("a writable descriptor that follows itself is refused", {{kBuffer, 64, kNext | kWrite, 0}});
  refused("a loop of two is refused", {{kBuffer, 64, kNext, 1}, {kBuffer, 64, kNext, 0}});
  refused("a loop behind a beginning is refused",
          {{kBuffer, 64, kNext, 1}, {kBuffer, 64, kNext, 2}, {kBuffer, 64, kNext, 1}});
  refused("a loop of empty buffers is refused", {{kBuffer, 0, kNext, 1}, {kBuffer, 0, kNext, 0}});
  std::vector<D> all;
  for (std::uint16_t i = 0; i < kSize; ++i) all.push_back({kBuffer, 64, kNext, static_cast<std::uint16_t>(i + 1)});
  all.back().next = 0;
  refused("a loop of the whole queue is refused", all);
  all.back().next = 63;
  refused("a whole queue whose last follows itself is refused", all);
  all.back().next = kSize;
  refused("a whole queue that goes on beyond its end is refused", all);
  all.back().flags = 0;
  rows.push_back(chain(q, "a chain as long as the queue harms nobody", Outcome::Survived, all));
  for (D& d : all) d.length = 0;
  rows.push_back(chain(q, "a whole queue of empty buffers harms nobody", Outcome::Survived, all));
  for (D& d : all) d.flags |= kWrite;
  rows.push_back(chain(q, "a whole queue of empty writable buffers harms nobody", Outcome::Survived, all));
  refused("a next of the queue's size is refused", {{kBuffer, 64, kNext, kSize}});
  refused("a next of 65535 is refused", {{kBuffer, 64, kNext, 0xffff}});
  refused("a next of 255 is refused in a queue of 64", {{kBuffer, 64, kNext, 255}});
}

void add_indirect(Rows<Bench>& rows, std::uint32_t q) {
  const auto table = [&](const char* name, D descriptor, std::vector<D> content) {
    rows.push_back({name, [=](Bench& bench) {
                      for (std::uint32_t i = 0; i < content.size(); ++i) {
                        bench.driver.put(GuestAddress{kBuffer + 16 * i}, content[i]);
                      }
                      bench.driver.describe_raw(q, 0, descriptor);
                      bench.driver.publish(q, 0);
                      bench.look(q);
                      CHECK(bench.broken());
                    }});
  };
  const D good{kBuffer + 4096, 64, 0, 0};
  table("an indirect table, never offered, is refused", {kBuffer, 16, kIndirect, 0}, {good});
  table("an indirect table of no bytes is refused", {kBuffer, 0, kIndirect, 0}, {});
  table("an indirect table of an odd size is refused", {kBuffer, 17, kIndirect, 0}, {good});
  table("an indirect table of 15 bytes is refused", {kBuffer, 15, kIndirect, 0}, {good});
  table("an indirect table of 4 GiB is refused", {kBuffer, 0xffffffff, kIndirect, 0}, {good});
  table("an indirect table of all memory is refused", {0, 1 << 20, kIndirect, 0}, {});
  table("an indirect table in a hole is refused", {0x8000'0000, 16, kIndirect, 0}, {});
  table("an indirect table at the top is refused", {UINT64_MAX - 15, 16, kIndirect, 0}, {});
  table("an indirect descriptor with a next is refused", {kBuffer, 16, kIndirect | kNext, 1}, {good});
  table("an indirect descriptor that follows itself is refused", {kBuffer, 16, kIndirect | kNext, 0}, {good});
  table("a writable indirect descriptor is refused", {kBuffer, 16, kIndirect | kWrite, 0}, {good});
  table("an indirect table in an indirect table is refused", {kBuffer, 16, kIndirect, 0},
        {{kBuffer, 16, kIndirect, 0}});
  table("an indirect table that loops is refused", {kBuffer, 32, kIndirect, 0},
        {{kBuffer + 4096, 64, kNext, 1}, {kBuffer + 4096, 64, kNext, 0}});
  table("an indirect table whose next is out of it is refused", {kBuffer, 16, kIndirect, 0},
        {{kBuffer + 4096, 64, kNext, 7}});
  table("the descriptor table as an indirect table is refused", {0, 16 * kSize, kIndirect, 0}, {});
  rows.push_back(chain(q, "an indirect descriptor within a chain is refused", Outcome::Refused,
                       {{kBuffer, 64, kNext, 1}, {kBuffer, 16, kIndirect, 0}}));
}

void add_buffers(Rows<Bench>& rows, std::uint32_t q) {
  // Each as the only buffer, readable and writable, and as the second one.
  const auto place = [&](const std::string& name, Outcome outcome, std::uint64_t address, std::uint32_t length) {
    const char* end = outcome == Outcome::Refused ? " is refused" : " harms nobody";
    rows.push_back(chain(q, "", outcome, {{address, length, 0, 0}}));
    rows.back().name = "a buffer " + name + end;
    rows.push_back(chain(q, "", outcome, {{address, length, kWrite, 0}}));
    rows.back().name = "a writable buffer " + name + end;
    rows.push_back(chain(q, "", outcome, {{kBuffer, 64, kNext, 1}, {address, length, kWrite, 0}}));
    rows.back().name = "a second buffer " + name + end;
  };
  const Outcome refused = Outcome::Refused, survived = Outcome::Survived;
  place("in a hole", refused, 0x8000'0000, 64);
  place("just past the end of memory", refused, kLowEnd, 1);
  place("of no bytes past the end of memory", refused, kLowEnd, 0);
  place("across the end of memory", refused, kLowEnd - 10, 20);
  place("one byte across the end of memory", refused, kLowEnd - 63, 64);
  place("up to the end of memory", survived, kLowEnd - 64, 64);
  place("of the last byte of memory", survived, kLowEnd - 1, 1);
  place("of 2^32 - 1 bytes", refused, 0, 0xffffffff);
  place("of 2^31 bytes", refused, kBuffer, 1u << 31);
  place("of all memory", survived, 0, 1u << 20);
  place("of all memory and a byte", refused, 0, (1u << 20) + 1);
  place("at the top of the address space", refused, UINT64_MAX, 1);
  place("of no bytes at the top of the address space", refused, UINT64_MAX, 0);
  place("that ends at 2^64", refused, UINT64_MAX - 15, 16);
  place("that wraps to 0", refused, UINT64_MAX - 15, 17);
  place("that wraps into low memory", refused, UINT64_MAX - 15, 0xffffffff);
  place("in the highest memory", survived, kHigh, 64);
  place("across the end of the highest memory", refused, kHighEnd - 32, 64);
  place("from below into the highest memory", refused, kHigh - 32, 64);
  place("from the end of low memory to 2^32", refused, kLowEnd - 64, 0xfff00000);
  place("of no bytes", survived, kBuffer, 0);
  place("over the descriptor table", survived, 0, 1024);
  place("over all of the rings", survived, 0, 0x30000);
  rows.push_back(chain(q, "a readable buffer behind a writable one is refused", refused,
                       {{kBuffer, 64, kNext | kWrite, 1}, {kBuffer, 64, 0, 0}}));
  rows.push_back(chain(q, "buffers readable and writable by turns are refused", refused,
                       {{kBuffer, 64, kNext, 1}, {kBuffer, 64, kNext | kWrite, 2}, {kBuffer, 64, 0, 0}}));
  rows.push_back(chain(q, "an empty readable buffer behind a writable one is refused", refused,
                       {{kBuffer, 64, kNext | kWrite, 1}, {kBuffer, 0, 0, 0}}));
  rows.push_back(
      chain(q, "flags that do not exist harm nobody", survived, {{kBuffer, 64, static_cast<std::uint16_t>(~7u), 0}}));
  std::vector<D> all;
  for (std::uint16_t i = 0; i < kSize; ++i) {
    all.push_back({0, 1 << 20, kNext | kWrite, static_cast<std::uint16_t>(i + 1)});
  }
  all.back().flags = kWrite;
  rows.push_back(chain(q, "all memory, writable, 64 times over harms nobody", survived, all));
  for (D& d : all) d.flags &= static_cast<std::uint16_t>(~kWrite);
  rows.push_back(chain(q, "all memory, readable, 64 times over harms nobody", survived, all));
}

void add_available(Rows<Bench>& rows, std::uint32_t q) {
  const auto add = [&](const char* name, std::function<void(Bench&)> run) { rows.push_back({name, std::move(run)}); };
  const auto index = [&](const char* name, std::uint16_t value) {
    add(name, [=](Bench& bench) {
      bench.driver.set_available(q, value);
      bench.look(q);
      CHECK(bench.broken());
      CHECK(bench.driver.used_index(q) == 0);
    });
  };
  index("an index one more ahead than the queue holds is refused", kSize + 1);
  index("an index twice the queue ahead is refused", 2 * kSize);
  index("an index 32768 ahead is refused", 32768);
  index("an index 32767 ahead is refused", 32767);
  index("an index one back is refused", 0xffff);
  index("an index a whole queue back is refused", static_cast<std::uint16_t>(0u - kSize));
  const auto head = [&](const char* name, std::uint16_t value) {
    add(name, [=](Bench& bench) {
      bench.driver.publish(q, value);
      bench.look(q);
      CHECK(bench.broken());
    });
  };
  head("a head of the queue's size is refused", kSize);
  head("a head of 255 is refused in a queue of 64", 255);
  head("a head of 32768 is refused", 32768);
  head("a head of 65535 is refused", 0xffff);
  add("a bad head behind a good one is refused", [=](Bench& bench) {
    bench.driver.describe_raw(q, 0, {kBuffer, 64, 0, 0});
    bench.driver.publish(q, 0);
    bench.driver.publish(q, 0xffff);
    bench.look(q);
    bench.look(q);
    CHECK(bench.broken());
  });
  add("one head 64 times over harms nobody", [=](Bench& bench) {
    bench.driver.describe_raw(q, 0, {kBuffer, 64, 0, 0});
    for (int i = 0; i < kSize; ++i) bench.driver.publish(q, 0);
    bench.look(q);
  });
  add("overlapping chains harm nobody", [=](Bench& bench) {
    for (std::uint16_t i = 0; i < kSize; ++i) {
      const bool last = i + 1 == kSize;
      bench.driver.describe_raw(
          q, i, {kBuffer, 64, last ? std::uint16_t{0} : kNext, static_cast<std::uint16_t>(last ? 0 : i + 1)});
      bench.driver.publish(q, i);
    }
    bench.look(q);
  });
  add("an index that comes back after a jump is not forgiven", [=](Bench& bench) {
    bench.driver.set_available(q, 1000);
    bench.look(q);
    bench.driver.set_available(q, 0);
    bench.look(q);
    CHECK(bench.broken());
  });
  add("a thousand kicks of an empty queue do nothing", [=](Bench& bench) {
    for (int i = 0; i < 1000; ++i) bench.kick(q);
    CHECK_FALSE(bench.broken());
    CHECK(bench.driver.used_index(q) == 0);
    CHECK(bench.interrupts == 0);
  });
  add("available flags that do not exist harm nobody", [=](Bench& bench) {
    bench.driver.put(bench.driver.available(q), std::uint16_t{0xffff});
    bench.driver.describe_raw(q, 0, {kBuffer, 64, 0, 0});
    bench.driver.publish(q, 0);
    bench.look(q);
  });
  add("a used ring that the driver overwrites harms nobody", [=](Bench& bench) {
    for (std::uint64_t at = 0; at < 6 + 8 * kSize; at += 2) {
      bench.driver.put(bench.driver.used_ring(q) + at, std::uint16_t{0xffff});
    }
    bench.driver.describe_raw(q, 0, {kBuffer, 64, 0, 0});
    bench.driver.publish(q, 0);
    bench.write(reg::kQueueNotify, q);
    bench.settle();
  });
  for (const std::uint16_t event : std::initializer_list<std::uint16_t>{0, 1, 0x7fff, 0x8000, 0xfffe, 0xffff}) {
    add("", [=](Bench& bench) {
      bench.start(kFeatureEventIndex);
      bench.driver.put(bench.driver.available(q) + (4 + 2 * kSize), event);
      bench.driver.describe_raw(q, 0, {kBuffer, 64, 0, 0});
      bench.driver.publish(q, 0);
      bench.look(q);
    });
    rows.back().name = "a used event index of " + std::to_string(event) + " harms nobody";
  }
}

// The driver's words change between any two looks of the device.
void add_second_vcpu(Rows<Bench>& rows, std::uint32_t q) {
  using Rewrite = std::function<void(Bench&, std::uint64_t count)>;
  // `page` 0: the descriptors, 1: the available ring.
  const auto add = [&](const char* name, int page, Rewrite rewrite) {
    rows.push_back({name, [=](Bench& bench) {
                      for (std::uint16_t i = 0; i < kSize; ++i) {
                        const auto next = static_cast<std::uint16_t>((i + 1) % kSize);
                        bench.driver.describe_raw(q, i, {kBuffer + 1024u * i, 64, i % 2 == 0 ? kNext : kWrite, next});
                      }
                      for (std::uint16_t i = 0; i < 32; ++i) bench.driver.publish(q, static_cast<std::uint16_t>(2 * i));
                      std::uint64_t count = 0;
                      const GuestAddress at = bench.driver.descriptors(q) + (page == 0 ? 0 : 0x1000);
                      std::uint64_t touches = 0;
                      {
                        const SecondVcpu other(bench.driver.memory(), at, 4096, [&] { rewrite(bench, count++); });
                        bench.look(q);
                        touches = other.touches();
                      }
                      CHECK(touches > 0);
                      CHECK(touches < 200'000);  // its work is bounded, whatever is written meanwhile
                    }});
  };
  rows.push_back(
      {"a descriptor is read once", [=](Bench& bench) {
         // A loop: refused after as many descriptors as the queue holds.
         for (std::uint16_t i = 0; i < kSize; ++i) {
           bench.driver.describe_raw(q, i, {kBuffer, 64, kNext, static_cast<std::uint16_t>((i + 1) % kSize)});
         }
         bench.driver.publish(q, 0);
         const SecondVcpu other(bench.driver.memory(), bench.driver.descriptors(q), 4096, [] {});
         bench.look(q);
         CHECK(bench.broken());
         CHECK(other.touches() >= kSize);
         CHECK(other.touches() <= 2 * kSize);  // two instructions of eight bytes each
       }});
  const auto every_descriptor = [q](Bench& bench, std::uint64_t offset, const auto& value) {
    for (std::uint32_t i = 0; i < kSize; ++i) bench.driver.put(bench.driver.descriptors(q) + (16 * i + offset), value);
  };
  add("addresses that move out of memory between looks harm nobody", 0, [=](Bench& bench, std::uint64_t n) {
    every_descriptor(bench, 0, n % 2 == 0 ? std::uint64_t{0x8000'0000} : kBuffer);
  });
  add("addresses that move to the top between looks harm nobody", 0,
      [=](Bench& bench, std::uint64_t n) { every_descriptor(bench, 0, n % 3 == 0 ? UINT64_MAX : kBuffer); });
  add("lengths that grow between looks harm nobody", 0, [=](Bench& bench, std::uint64_t n) {
    every_descriptor(bench, 8, n % 2 == 0 ? std::uint32_t{0xffffffff} : std::uint32_t{64});
  });
  add("lengths that vanish between looks harm nobody", 0, [=](Bench& bench, std::uint64_t n) {
    every_descriptor(bench, 8, n % 2 == 0 ? std::uint32_t{0} : std::uint32_t{64});
  });
  add("flags that turn between looks harm nobody", 0,
      [=](Bench& bench, std::uint64_t n) { every_descriptor(bench, 12, static_cast<std::uint16_t>(n % 4)); });
  add("a next that is always elsewhere harms nobody", 0, [=](Bench& bench, std::uint64_t n) {
    every_descriptor(bench, 12, kNext);
    every_descriptor(bench, 14, static_cast<std::uint16_t>(n * 7 % kSize));
  });
  add("a chain that grows while it is walked harms nobody", 0, [=](Bench& bench, std::uint64_t n) {
    every_descriptor(bench, 14, static_cast<std::uint16_t>((n + 1) % kSize));
    every_descriptor(bench, 12, n % 100 == 99 ? std::uint16_t{0} : kNext);
  });
  add("an index that always runs ahead harms nobody", 1, [=](Bench& bench, std::uint64_t n) {
    bench.driver.put(bench.driver.available(q) + 2, static_cast<std::uint16_t>(32 + n / 8));
  });
  add("an index that jumps to and fro harms nobody", 1, [=](Bench& bench, std::uint64_t n) {
    bench.driver.put(bench.driver.available(q) + 2, static_cast<std::uint16_t>(n % 2 == 0 ? 3 : 40));
  });
  add("heads that change between looks harm nobody", 1, [=](Bench& bench, std::uint64_t n) {
    for (std::uint32_t i = 0; i < kSize; ++i) {
      bench.driver.put(bench.driver.available(q) + (4 + 2 * i), static_cast<std::uint16_t>(n % 5 * 16));
    }
  });
  for (const int page : {0, 1}) {
    for (const unsigned seed : {1u, 2u, 3u, 4u, 5u}) {
      auto random = std::make_shared<std::minstd_rand>(seed);
      add("", page, [=](Bench& bench, std::uint64_t) {
        const GuestAddress at = bench.driver.descriptors(q) + (page == 0 ? 0 : 0x1000);
        const std::uint64_t bytes = page == 0 ? 16 * kSize : 6 + 2 * kSize;
        for (int i = 0; i < 4; ++i) bench.driver.put(at + (*random)() % bytes, static_cast<std::uint8_t>((*random)()));
      });
      rows.back().name = (page == 0 ? "descriptors" : "an available ring") +
                         (" rewritten at random between looks harm nobody, seed " + std::to_string(seed));
    }
  }
}

}  // namespace

Rows<Bench> ring_rows(std::uint32_t queue) {
  Rows<Bench> rows;
  add_loops(rows, queue);
  add_indirect(rows, queue);
  add_buffers(rows, queue);
  add_available(rows, queue);
  add_second_vcpu(rows, queue);
  return rows;
}

}  // namespace sandforge::vmm::test
