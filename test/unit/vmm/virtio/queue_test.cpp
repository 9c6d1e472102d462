// SPDX-License-Identifier: Apache-2.0
// What needs more memory than the violation suite has: sums of lengths. The rest of the ring walker is tried there.
#include "vmm/virtio/queue.hpp"

#include <doctest/doctest.h>
#include <sys/mman.h>

#include <vector>

#include "vmm/devices/fake_driver.hpp"

using namespace sandforge::vmm;

namespace {

constexpr std::uint64_t kHugeStart = std::uint64_t{1} << 32, kHugeBytes = std::uint64_t{8} << 30;

// Rings in one page; buffers in 8 GiB of address space that nobody may touch, nor needs to.
class HugeGuest {
 public:
  HugeGuest() : rings_(0x3000) {
    huge_ = ::mmap(nullptr, kHugeBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(huge_ != MAP_FAILED);
    memory_ = std::make_unique<GuestMemory>(
        std::vector<MemoryRegion>{{GuestAddress{0}, rings_.size(), rings_.data()},
                                  {GuestAddress{kHugeStart}, kHugeBytes, static_cast<std::byte*>(huge_)}});
  }
  HugeGuest(const HugeGuest&) = delete;
  ~HugeGuest() { ::munmap(huge_, kHugeBytes); }

  // A chain of writable buffers of these lengths, all at the start of the huge region.
  sandforge::base::Result<std::optional<Chain>> pop(const std::vector<std::uint32_t>& lengths) {
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      const bool last = i + 1 == lengths.size();
      const test::RawDescriptor raw{kHugeStart, lengths[i],
                                    static_cast<std::uint16_t>(test::kWrite | (last ? 0 : test::kNext)),
                                    static_cast<std::uint16_t>(i + 1)};
      REQUIRE(memory_->write_object(GuestAddress{16 * i}, raw));
    }
    REQUIRE(memory_->store_u16(GuestAddress{0x1002}, 1));
    auto queue = Queue::open(*memory_, {256, GuestAddress{0}, GuestAddress{0x1000}, GuestAddress{0x2000}, false});
    REQUIRE(queue);
    return queue.value().pop();
  }

 private:
  std::vector<std::byte> rings_;
  void* huge_ = nullptr;
  std::unique_ptr<GuestMemory> memory_;
};

}  // namespace

TEST_CASE_FIXTURE(HugeGuest, "a chain may hold 4 GiB, and not a byte more, however its lengths add up") {
  constexpr std::uint32_t kHalf = 1u << 31, kMost = 0xffffffff;
  SUBCASE("all of it") {
    auto chain = pop({kHalf, kHalf});
    REQUIRE(chain);
    REQUIRE(chain.value());
    CHECK(chain.value()->writable_bytes() == std::uint64_t{1} << 32);
  }
  SUBCASE("a byte more") { CHECK_FALSE(pop({kHalf, kHalf, 1})); }
  SUBCASE("twice the largest length") { CHECK_FALSE(pop({kMost, kMost})); }
  SUBCASE("a sum that wraps 32 bits to a byte") { CHECK_FALSE(pop({kMost, 2})); }
  SUBCASE("256 times the largest length") { CHECK_FALSE(pop(std::vector<std::uint32_t>(256, kMost))); }
}

TEST_CASE("a queue is at most 256 entries long and lies in one region") {
  std::vector<std::byte> low(0x3000), high(0x3000);
  const GuestMemory memory(
      {{GuestAddress{0}, low.size(), low.data()}, {GuestAddress{0x3000}, high.size(), high.data()}});
  const auto opens = [&](QueueLayout layout) { return static_cast<bool>(Queue::open(memory, layout)); };
  CHECK(opens({256, GuestAddress{0}, GuestAddress{0x1000}, GuestAddress{0x2000}, false}));
  CHECK_FALSE(opens({512, GuestAddress{0}, GuestAddress{0x1000}, GuestAddress{0x2000}, false}));
  // Neighbours of the guest need not be neighbours of the host.
  CHECK_FALSE(opens({256, GuestAddress{0x2800}, GuestAddress{0x1000}, GuestAddress{0x2000}, false}));
  CHECK_FALSE(opens({256, GuestAddress{0}, GuestAddress{0x2ffe}, GuestAddress{0x2000}, false}));
  CHECK_FALSE(opens({256, GuestAddress{0}, GuestAddress{0x1000}, GuestAddress{0x2ffc}, false}));
}
