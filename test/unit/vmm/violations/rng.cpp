// SPDX-License-Identifier: Apache-2.0
// What a driver of virtio-rng must not do.
#include "vmm/devices/rng.hpp"
#include "base/limits.hpp"
#include "vmm/violations/bench.hpp"

namespace sandforge::vmm::test {
namespace {

constexpr std::uint64_t kLow = GuardedMemory::kLowBytes, kHigh = GuardedMemory::kHighStart;
constexpr std::uint64_t kFree = FakeDriver::kBuffers;
constexpr std::uint32_t kAll = 64 * 1024;

class RngBench final : public Bench {
 public:
  RngBench() : Bench(1) {}

  // How many requests were given back.
  int send(const std::vector<RawDescriptor>& chain) {
    const std::uint16_t before = driver.used_index(0);
    driver.offer_raw(0, chain);
    kick(0);
    return static_cast<std::uint16_t>(driver.used_index(0) - before);
  }
  // Of the request that was given back first.
  std::uint32_t written() const { return driver.get<std::uint32_t>(driver.used_ring(0) + 8); }
  void use() override {
    CHECK(send({{kFree, 64, kWrite, 0}}) == 1);
    CHECK(written() == 64);
  }

 protected:
  std::unique_ptr<Device> make() override { return std::make_unique<Rng>(); }
};

enum class Outcome { Broken, Served, Any };

Row<RngBench> chain(const char* name, Outcome outcome, std::vector<RawDescriptor> descriptors) {
  return {name, [=](RngBench& b) {
            const int given_back = b.send(descriptors);
            if (outcome == Outcome::Any) return;
            CHECK(b.broken() == (outcome == Outcome::Broken));
            CHECK(given_back == (outcome == Outcome::Served ? 1 : 0));
          }};
}

Rows<RngBench> requests() {
  return {
      chain("a buffer to read from", Outcome::Broken, {{kFree, 64, 0, 0}}),
      chain("a buffer to read from before one to fill", Outcome::Broken, {{kFree, 64, 0, 0}, {kFree, 64, kWrite, 0}}),
      chain("an empty buffer to read from before one to fill", Outcome::Broken,
            {{kFree, 0, 0, 0}, {kFree, 64, kWrite, 0}}),
      chain("a buffer to read from after one to fill", Outcome::Broken, {{kFree, 64, kWrite, 0}, {kFree, 64, 0, 0}}),
      chain("an empty buffer", Outcome::Broken, {{kFree, 0, kWrite, 0}}),
      chain("three empty buffers", Outcome::Broken,
            {{kFree, 0, kWrite, 0}, {kFree, 0, kWrite, 0}, {kFree, 0, kWrite, 0}}),
      chain("an empty buffer in a hole", Outcome::Broken, {{kLow + 1, 0, kWrite, 0}}),
      chain("an empty buffer before a full one", Outcome::Served, {{kFree, 0, kWrite, 0}, {kFree, 16, kWrite, 0}}),
      chain("a buffer in a hole", Outcome::Broken, {{0x8000'0000, 64, kWrite, 0}}),
      chain("a buffer that ends one byte beyond memory", Outcome::Broken, {{kLow - 63, 64, kWrite, 0}}),
      chain("a buffer that starts one byte before memory", Outcome::Broken, {{kHigh - 1, 64, kWrite, 0}}),
      chain("a buffer that wraps around", Outcome::Broken, {{UINT64_MAX - 10, 64, kWrite, 0}}),
      chain("a buffer of 2^32 - 1 bytes", Outcome::Broken, {{kFree, 0xffffffff, kWrite, 0}}),
      chain("a good buffer before one in a hole", Outcome::Broken, {{kFree, 64, kWrite, 0}, {kLow, 64, kWrite, 0}}),
      chain("the last byte of memory", Outcome::Served, {{kLow - 1, 1, kWrite, 0}}),
      chain("a whole region", Outcome::Served, {{kHigh, GuardedMemory::kHighBytes, kWrite, 0}}),
      chain("the same buffer twice", Outcome::Served, {{kFree, 64, kWrite, 0}, {kFree, 64, kWrite, 0}}),
      chain("flags that nobody defined", Outcome::Served, {{kFree, 64, 0xfff0 | kWrite, 0}}),
      chain("a buffer over the descriptors", Outcome::Any, {{0, 0x1000, kWrite, 0}}),
      chain("a buffer over the available ring", Outcome::Any, {{0x1000, 0x1000, kWrite, 0}}),
      chain("a buffer over the used ring", Outcome::Any, {{0x2000, 0x1000, kWrite, 0}}),
      chain("a buffer over all of memory", Outcome::Any, {{0, kLow, kWrite, 0}}),
  };
}

Rows<RngBench> lives() {
  return {
      {"a kick without a request", [](RngBench& b) { b.kick(0); }},
      {"kicks of queues that are not there",
       [](RngBench& b) {
         b.driver.offer(0, {}, 64);
         for (const std::uint32_t queue : {1u, 3u, 4u, 0xffffu, 0x10000u, 0xffffffffu}) b.kick(queue);
       }},
      {"a request and a reset before the kick",
       [](RngBench& b) {
         b.driver.offer(0, {}, 64);
         b.write(reg::kStatus, 0);
         b.kick(0);
         CHECK(b.driver.used_index(0) == 0);
       }},
      {"a kick before DRIVER_OK",
       [](RngBench& b) {
         CHECK(b.driver.negotiate(*b.transport));
         b.driver.set_up_queue(*b.transport, 0);
         b.driver.offer(0, {}, 64);
         b.kick(0);
         CHECK(b.driver.used_index(0) == 0);
         CHECK_FALSE(b.broken());
       }},
      {"features that were not offered",
       [](RngBench& b) {
         for (int bit = 0; bit < 64; ++bit) {
           const std::uint64_t feature = 1ull << bit;
           if (feature == kFeatureVersion1 || feature == kFeatureEventIndex) continue;
           INFO("feature ", bit);
           CHECK_FALSE(b.driver.negotiate(*b.transport, feature));
         }
       }},
      {"reads and writes of a configuration that is not there",
       [](RngBench& b) {
         for (std::uint64_t offset = reg::kConfig; offset < kMmioWindow + 8; offset += 97) {
           std::array<std::byte, 8> bytes{};
           bytes.fill(std::byte{0xff});
           b.transport->write(offset, bytes);
           b.transport->read(offset, bytes);
           CHECK(bytes == std::array<std::byte, 8>{});
         }
       }},
      {"a request as long as the queue",
       [](RngBench& b) {
         b.send(std::vector<RawDescriptor>(FakeDriver::kSize, {kFree, 1, kWrite, 0}));
         CHECK(b.written() == FakeDriver::kSize);
       }},
      {"two buffers of the most that one request gets",
       [](RngBench& b) {
         b.send({{kFree, kAll, kWrite, 0}, {kFree + kAll, kAll, kWrite, 0}});
         CHECK(b.written() == limits::kRngRequestBytes);
         CHECK(b.driver.get<std::uint64_t>(GuestAddress{kFree + kAll}) == 0);
       }},
      {"a driver that never stops asking",
       [](RngBench& b) {
         b.driver.describe_raw(0, 0, {kFree, kAll, kWrite, 0});
         for (int round = 0; round < 200; ++round) {
           // The queue is full again before every turn.
           while (static_cast<std::uint16_t>(b.driver.available_index(0) - b.driver.used_index(0)) <
                  FakeDriver::kSize) {
             b.driver.publish(0, 0);
           }
           const std::uint16_t before = b.driver.used_index(0);
           b.write(reg::kQueueNotify, 0);  // one turn, not all that follow from it
           const auto served = static_cast<std::uint16_t>(b.driver.used_index(0) - before);
           CHECK(served == limits::kRngTurnBytes / kAll);  // progress, and no more than a turn's worth
         }
       }},
  };
}

}  // namespace

Table rng_violations() {
  Table out = table<RngBench>("rng", requests());
  append(out, lives());
  append_common<RngBench>(out, ring_rows(0));
  return out;
}

}  // namespace sandforge::vmm::test
