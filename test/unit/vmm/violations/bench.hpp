// SPDX-License-Identifier: Apache-2.0
// The violation suite: everything a hostile driver may try, a named row each, against one device behind its transport
// on fake guest memory. After every row the same is checked: nothing outside guest memory was touched (guard pages),
// the device comes back by a reset and serves an honest request, no turn did more than a cap's work, descriptors and
// heap are what they were, and nothing was written to standard error.
//
// To add rows for a device:
//   1. derive a bench: make() builds the device, use() plays one honest request and CHECKs its answer, and look(queue),
//      where a kick alone does not do it, makes the device take from that queue. See block_bench.hpp.
//   2. write `Table rng_violations()` that gives table<RngBench>("rng", rows), where rows are {name, [](RngBench& b)
//   {…}}
//      and start with a device that is up (DRIVER_OK). A row does its harm and CHECKs what follows from it.
//   3. append ring_rows(queue) for each queue that the device takes from: all of the ring violations, and to be had
//   free.
//   4. name the table in tables() of violations_test.cpp.
// SANDFORGE_VIOLATION=text runs only the rows whose "table: name" holds the text, and names each before it runs.
#pragma once

#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "vmm/devices/fake_driver.hpp"
#include "vmm/devices/poll_watcher.hpp"

namespace sandforge::vmm::test {

class Bench {
 public:
  explicit Bench(std::size_t queues) : driver(queues), queues_(queues) {}
  virtual ~Bench() = default;

  // An honest driver's request and its answer. The device was just started.
  virtual void use() = 0;
  // Makes the device take what is in `queue`.
  virtual void look(std::uint32_t queue) { kick(queue); }

  void build();
  // What an honest driver of this device negotiates.
  virtual std::uint64_t features() const { return 0; }
  void start() { start(features()); }
  void start(std::uint64_t features) { CHECK(driver.start(*transport, features)); }

  std::uint32_t read(std::uint64_t offset) { return FakeDriver::read_register(*transport, offset); }
  void write(std::uint64_t offset, std::uint32_t value) { FakeDriver::write_register(*transport, offset, value); }
  // An access of any width, all of it `fill`; what was read.
  void write_wide(std::uint64_t offset, std::size_t width, unsigned fill);
  std::string read_wide(std::uint64_t offset, std::size_t width);
  // The registers of a 64-bit address: low, then high.
  void write_address(std::uint32_t low, std::uint64_t address);

  // QueueNotify, then everything that follows from it.
  void kick(std::uint32_t queue);
  // Runs on what the device asked for (kick_again) and what its descriptors have to tell, until nothing is left; the
  // test fails when there is no end.
  void settle();
  // A device loop's turn without a kick: one round of events and of kick_again. False when there was nothing to do.
  bool turn();
  // Settled, reset, started anew, used.
  void check_usable();

  bool broken() const { return transport->needs_reset(); }
  std::size_t queues() const { return queues_; }

  FakeDriver driver;
  PollWatcher watcher;
  int interrupts = 0;
  std::unique_ptr<MmioTransport> transport;

 protected:
  virtual std::unique_ptr<Device> make() = 0;

 private:
  std::vector<std::uint16_t> used_indices() const;
  void check_bounded(const std::vector<std::uint16_t>& before) const;

  std::size_t queues_;
  std::vector<std::uint32_t> again_;
};

template <typename B>
struct Row {
  std::string name;
  std::function<void(B&)> run;
};
template <typename B>
using Rows = std::vector<Row<B>>;

struct Table {
  std::string name;
  struct Case {
    std::string name;
    std::function<std::unique_ptr<Bench>()> make;
    std::function<void(Bench&)> run;
  };
  std::vector<Case> cases;
};

template <typename B>
void append(Table& table, const Rows<B>& rows) {
  for (const Row<B>& row : rows) {
    table.cases.push_back({row.name, [] { return std::make_unique<B>(); },
                           [run = row.run](Bench& bench) { run(static_cast<B&>(bench)); }});
  }
}
// Rows for any device, run on this one.
template <typename B>
void append_common(Table& table, const Rows<Bench>& rows) {
  for (const Row<Bench>& row : rows) table.cases.push_back({row.name, [] { return std::make_unique<B>(); }, row.run});
}
template <typename B>
Table table(std::string name, const Rows<B>& rows) {
  Table out{std::move(name), {}};
  append(out, rows);
  return out;
}

// Each row of the table, with all that is checked after it. How many ran.
int run_table(const Table& table);

// Violations of the rings of one queue, for any device that takes from it.
Rows<Bench> ring_rows(std::uint32_t queue);
// Rings laid where they must not be.
Rows<Bench> layout_rows(std::uint32_t queue);

Table register_violations();
Table block_violations();
Table read_only_block_violations();
Table layered_block_violations();
Table vsock_violations();
Table rng_violations();
Table balloon_violations();
Table fs_violations();

}  // namespace sandforge::vmm::test
