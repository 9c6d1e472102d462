// SPDX-License-Identifier: Apache-2.0
// What a driver of virtio-balloon must not do.
#include "vmm/devices/balloon.hpp"
#include "base/limits.hpp"
#include "vmm/violations/bench.hpp"

namespace sandforge::vmm::test {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kLow = GuardedMemory::kLowBytes, kHigh = GuardedMemory::kHighStart;
constexpr std::uint32_t kLowPages = kLow / kPage;
constexpr std::uint64_t kFree = FakeDriver::kBuffers;
constexpr std::uint32_t kWitness = 200;  // a page that every case fills
constexpr std::uint64_t kReporting = 1ull << 5;
enum Queue : std::uint32_t { kInflate, kDeflate, kReports };

class BalloonBench final : public Bench {
 public:
  BalloonBench() : Bench(3) {}

  std::uint64_t features() const override { return kReporting; }
  // How many requests were given back.
  int send(std::uint32_t queue, const std::vector<RawDescriptor>& chain) {
    const std::uint16_t before = driver.used_index(queue);
    driver.offer_raw(queue, chain);
    kick(queue);
    return static_cast<std::uint16_t>(driver.used_index(queue) - before);
  }
  int send_list(std::uint32_t queue, const std::vector<std::uint32_t>& numbers) {
    // SAFETY: any bytes may be looked at as char.
    const std::string_view bytes(reinterpret_cast<const char*>(numbers.data()), numbers.size() * 4);
    return send(queue, {{driver.take(bytes), static_cast<std::uint32_t>(bytes.size()), 0, 0}});
  }
  void fill() { std::memset(witness(), 'x', kPage); }
  bool kept() const { return std::string_view(witness(), kPage) == std::string(kPage, 'x'); }
  Balloon& balloon() { return static_cast<Balloon&>(transport->device()); }
  void use() override {
    fill();
    CHECK(send_list(kInflate, {kWitness}) == 1);
    CHECK_FALSE(kept());
    fill();
    CHECK(send(kReports, {{kWitness * kPage, kPage, kWrite, 0}}) == 1);
    CHECK_FALSE(kept());
  }

 protected:
  std::unique_ptr<Device> make() override { return std::make_unique<Balloon>(); }

 private:
  char* witness() const { return reinterpret_cast<char*>(driver.host() + kWitness * kPage); }
};

enum class Outcome { Broken, Served, Any };

void check(BalloonBench& b, Outcome outcome, int given_back) {
  if (outcome == Outcome::Any) return;
  CHECK(b.broken() == (outcome == Outcome::Broken));
  CHECK(given_back == (outcome == Outcome::Served ? 1 : 0));
}

// A list of page numbers that has the witness in it: of a list that is refused nothing is released.
Row<BalloonBench> list(const char* name, std::uint32_t queue, Outcome outcome, std::vector<std::uint32_t> numbers) {
  return {name, [=](BalloonBench& b) {
            b.fill();
            check(b, outcome, b.send_list(queue, numbers));
            if (outcome == Outcome::Broken) CHECK(b.balloon().released_bytes() == 0);
            if (outcome != Outcome::Any) CHECK(b.kept() == (outcome == Outcome::Broken || queue == kDeflate));
          }};
}

// A chain that has no whole page to release, or is refused.
Row<BalloonBench> chain(const char* name, std::uint32_t queue, Outcome outcome,
                        std::vector<RawDescriptor> descriptors) {
  return {name, [=](BalloonBench& b) {
            b.fill();
            check(b, outcome, b.send(queue, descriptors));
            if (outcome != Outcome::Any) CHECK(b.kept());
          }};
}

std::vector<std::uint32_t> many(std::size_t count) { return std::vector<std::uint32_t>(count, kWitness); }

Rows<BalloonBench> lists() {
  return {
      list("a page just beyond memory", kInflate, Outcome::Broken, {kWitness, kLowPages}),
      list("a page far beyond memory", kInflate, Outcome::Broken, {kWitness, 0x80000}),
      list("page 2^32 - 1", kInflate, Outcome::Broken, {0xffffffff, kWitness}),
      list("a page whose address has no 32 bits", kInflate, Outcome::Broken, {kWitness, 0x100000}),
      list("a run that leaves memory", kInflate, Outcome::Broken, {kWitness, kLowPages - 2, kLowPages - 1, kLowPages}),
      list("the last page of memory", kInflate, Outcome::Served, {kWitness, kLowPages - 1}),
      list("one page many times", kInflate, Outcome::Served, many(limits::kBalloonPagesMax)),
      list("one page too many", kInflate, Outcome::Broken, many(limits::kBalloonPagesMax + 1)),
      list("a run backwards", kInflate, Outcome::Served, {kWitness + 1, kWitness, kWitness - 1}),
      list("a page that is given twice", kInflate, Outcome::Served, {kWitness, 7, kWitness}),
      list("the page that holds the list", kInflate, Outcome::Served, {kFree / kPage, kWitness}),
      list("the pages of its own rings", kInflate, Outcome::Any, {0, 1, 2}),
      list("the pages of another queue's rings", kInflate, Outcome::Any, {16, 17, 18}),
      list("deflation of a page that was never given", kDeflate, Outcome::Served, {kWitness}),
      list("deflation of a page beyond memory", kDeflate, Outcome::Broken, {kLowPages}),
      list("deflation of page 2^32 - 1", kDeflate, Outcome::Broken, {0xffffffff}),
      list("deflation of one page too many", kDeflate, Outcome::Broken, many(limits::kBalloonPagesMax + 1)),
  };
}

Rows<BalloonBench> chains() {
  return {
      chain("an empty list", kInflate, Outcome::Broken, {{kFree, 0, 0, 0}}),
      chain("a list of three bytes", kInflate, Outcome::Broken, {{kFree, 3, 0, 0}}),
      chain("a list of one page number and a byte", kInflate, Outcome::Broken, {{kFree, 5, 0, 0}}),
      chain("a list in three odd parts", kInflate, Outcome::Served,
            {{kFree, 3, 0, 0}, {kFree, 2, 0, 0}, {kFree, 3, 0, 0}}),
      chain("a list for the device to write", kInflate, Outcome::Broken, {{kFree, 4, kWrite, 0}}),
      chain("a list and a buffer to write", kInflate, Outcome::Broken, {{kFree, 4, 0, 0}, {kFree, 4, kWrite, 0}}),
      chain("a list and an empty buffer to write", kDeflate, Outcome::Broken,
            {{kFree, 4, 0, 0}, {kFree, 0, kWrite, 0}}),
      chain("a list in a hole", kInflate, Outcome::Broken, {{kLow, 4, 0, 0}}),
      chain("a list of 2^32 - 4 bytes", kInflate, Outcome::Broken, {{kFree, 0xfffffffc, 0, 0}}),
      chain("a report to read", kReports, Outcome::Broken, {{kWitness * kPage, kPage, 0, 0}}),
      chain("a report of nothing", kReports, Outcome::Broken, {{kWitness * kPage, 0, kWrite, 0}}),
      chain("a report with a buffer to read", kReports, Outcome::Broken,
            {{kFree, 4, 0, 0}, {kWitness * kPage, kPage, kWrite, 0}}),
      chain("a report beyond memory", kReports, Outcome::Broken, {{kLow, kPage, kWrite, 0}}),
      chain("a report of memory and a hole", kReports, Outcome::Broken,
            {{kWitness * kPage, kPage, kWrite, 0}, {kLow, kPage, kWrite, 0}}),
      chain("a report across the end of memory", kReports, Outcome::Broken, {{kLow - kPage, 2 * kPage, kWrite, 0}}),
      chain("a report across the start of a region", kReports, Outcome::Broken,
            {{kHigh - kPage, 2 * kPage, kWrite, 0}}),
      chain("a report that wraps around", kReports, Outcome::Broken, {{UINT64_MAX - kPage + 1, 2 * kPage, kWrite, 0}}),
      chain("a report from 0 to 2^32 - 1", kReports, Outcome::Broken, {{0, 0xffffffff, kWrite, 0}}),
      chain("a report of part of a page", kReports, Outcome::Served, {{kWitness * kPage + 1, kPage - 1, kWrite, 0}}),
      chain("a report of parts of two pages", kReports, Outcome::Served, {{kWitness * kPage - 1, kPage, kWrite, 0}}),
      chain("a report of one byte", kReports, Outcome::Served, {{kLow - 1, 1, kWrite, 0}}),
      chain("a report of a whole region", kReports, Outcome::Served, {{kHigh, GuardedMemory::kHighBytes, kWrite, 0}}),
      chain("a report of the same page twice", kReports, Outcome::Served,
            {{kFree, kPage, kWrite, 0}, {kFree, kPage, kWrite, 0}}),
      chain("a report of its own rings", kReports, Outcome::Any, {{0x20000, 0x3000, kWrite, 0}}),
      chain("a report of all of memory", kReports, Outcome::Any, {{0, kLow, kWrite, 0}}),
  };
}

Rows<BalloonBench> lives() {
  return {
      {"kicks without requests, and of queues that are not there",
       [](BalloonBench& b) {
         for (const std::uint32_t queue : {0u, 1u, 2u, 3u, 4u, 0xffffu, 0x10000u, 0xffffffffu}) b.kick(queue);
       }},
      {"features that were not offered",
       [](BalloonBench& b) {
         for (int bit = 0; bit < 64; ++bit) {
           const std::uint64_t feature = 1ull << bit;
           const std::uint64_t offered = b.balloon().features() | kFeatureVersion1 | kFeatureEventIndex;
           INFO("feature ", bit);
           CHECK(b.driver.negotiate(*b.transport, feature) == ((feature & offered) != 0));
         }
       }},
      {"reports negotiated, their queue not set up",
       [](BalloonBench& b) {
         CHECK(b.driver.negotiate(*b.transport, kReporting));
         for (const std::uint32_t queue : {kInflate, kDeflate}) b.driver.set_up_queue(*b.transport, queue);
         b.write(reg::kStatus, b.read(reg::kStatus) | status::kDriverOk);
         CHECK(b.broken());
       }},
      {"reports that were not negotiated",
       [](BalloonBench& b) {
         CHECK(b.driver.start(*b.transport, 0));
         b.fill();
         b.send(kReports, {{kWitness * kPage, kPage, kWrite, 0}});
         CHECK(b.kept());
         CHECK(b.driver.used_index(kReports) == 0);
         CHECK(b.transport->active());
       }},
      {"writes to every byte of the configuration, of every width",
       [](BalloonBench& b) {
         const std::array<std::byte, 8> ones = [] {
           std::array<std::byte, 8> bytes{};
           bytes.fill(std::byte{0xff});
           return bytes;
         }();
         for (std::uint64_t offset = 0; offset < 16; ++offset) {
           for (const std::size_t width : {1u, 2u, 4u, 8u}) {
             b.transport->write(reg::kConfig + offset, std::span(ones).first(width));
           }
         }
         CHECK(b.read(reg::kConfig) == 0);           // num_pages is the host's
         CHECK(b.balloon().actual() == 0xffffffff);  // the guest's word, believed by nobody
         CHECK(b.read(reg::kConfig + 8) == 0);
       }},
      {"a request and a reset before the kick",
       [](BalloonBench& b) {
         b.fill();
         b.driver.offer(kInflate, {reinterpret_cast<const char*>(&kWitness), 4}, 0);
         b.write(reg::kStatus, 0);
         b.kick(kInflate);
         CHECK(b.kept());
       }},
      {"a driver that never stops reporting",
       [](BalloonBench& b) {
         b.driver.describe_raw(kReports, 0, {kFree, kPage, kWrite, 0});
         std::uint64_t kicked = 0;
         for (int round = 0; round < 50; ++round) {
           for (int i = 0; i < FakeDriver::kSize; ++i) b.driver.publish(kReports, 0);
           b.kick(kReports);
           ++kicked;
           CHECK(b.balloon().released_bytes() == kicked * FakeDriver::kSize * kPage);
         }
       }},
  };
}

}  // namespace

Table balloon_violations() {
  Table out = table<BalloonBench>("balloon", lists());
  append(out, chains());
  append(out, lives());
  append_common<BalloonBench>(out, ring_rows(kInflate));
  append_common<BalloonBench>(out, ring_rows(kReports));
  return out;
}

}  // namespace sandforge::vmm::test
