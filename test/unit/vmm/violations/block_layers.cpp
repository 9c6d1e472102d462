// SPDX-License-Identifier: Apache-2.0
// Violations of virtio-blk where the disk has layers, and of its request to write zeroes.
#include "base/limits.hpp"
#include "vmm/storage/disk_files.hpp"
#include "vmm/violations/block_bench.hpp"

namespace sandforge::vmm::test {
namespace {

using namespace blk;

constexpr std::uint64_t kBytes = kSectors * 512;
constexpr std::uint32_t kMost = limits::kBlockRequestBytesMax / 512;  // sectors

// The top is empty; below it every byte is 'b'.
class LayeredBlockBench : public BlockBench {
 public:
  base::UniqueFd top = memory_file(kBytes), map = memory_map(kBytes),
                 bottom = memory_file(kBytes, std::string(kBytes, 'b'));

  std::string sector(std::uint64_t number) {
    REQUIRE(request(kIn, number, {}, 512) == kOk);
    return answer.substr(0, 512);
  }
  // Whether what lies below is as it was.
  bool bottom_kept() const {
    std::string now(kBytes, '\0');
    return ::pread(bottom.get(), now.data(), kBytes, 0) == static_cast<ssize_t>(kBytes) &&
           now == std::string(kBytes, 'b');
  }
  void use() override {
    BlockBench::use();
    CHECK(bottom_kept());
  }

 protected:
  std::unique_ptr<Device> make() override {
    std::vector<DiskLayer> layers;
    layers.push_back({reopen(top, O_RDWR), reopen(map, O_RDWR)});
    layers.push_back({reopen(bottom, O_RDONLY), {}});
    auto disk = Disk::open(std::move(layers), kBytes, false);
    REQUIRE(disk);
    return std::make_unique<Block>(std::move(disk).value(), "layered");
  }
};

struct Segment {
  std::uint64_t sector;
  std::uint32_t sectors, flags;
};

std::string bytes_of(const std::vector<Segment>& segments) {
  std::string data;
  // SAFETY: any bytes may be looked at as char.
  for (const Segment& one : segments) data.append(reinterpret_cast<const char*>(&one), sizeof one);
  return data;
}

// Sector 8 starts a block; it reads as zeros when the request is served and names it first.
Row<LayeredBlockBench> clear(const char* name, std::uint32_t type, int status, std::vector<Segment> segments,
                             std::size_t cut = 0) {
  return {name, [=](LayeredBlockBench& b) {
            std::string data = bytes_of(segments);
            data.resize(data.size() - cut);
            CHECK(b.request(type, 0, data, 0) == status);
            const bool hit = status == kOk && segments[0].sectors > 0;
            CHECK(b.sector(8) == std::string(512, hit ? '\0' : 'b'));
            CHECK(b.sector(7) == std::string(512, 'b'));
            CHECK(b.bottom_kept());
          }};
}

Rows<LayeredBlockBench> ranges() {
  constexpr std::uint32_t kZero = kWriteZeroes;
  return {
      clear("zeroes for nothing are an error", kZero, kIoError, {}),
      clear("zeroes for half a segment are an error", kZero, kIoError, {{8, 8, 0}}, 8),
      clear("zeroes for two segments are an error", kZero, kIoError, {{8, 8, 0}, {8, 8, 0}}),
      clear("zeroes for 4096 segments are an error", kZero, kIoError, std::vector<Segment>(4096, {8, 8, 0})),
      clear("zeroes past the end are an error", kZero, kIoError, {{kSectors, 8, 0}}),
      clear("zeroes across the end are an error", kZero, kIoError, {{kSectors - 4, 8, 0}}),
      clear("zeroes whose offset wraps are an error", kZero, kIoError, {{(1ull << 55) + 8, 8, 0}}),
      clear("zeroes at the last sector there can be are an error", kZero, kIoError, {{UINT64_MAX, 8, 0}}),
      clear("zeroes for one sector more than allowed are an error", kZero, kIoError, {{0, kMost + 1, 0}}),
      clear("zeroes for 2^32 - 1 sectors are an error", kZero, kIoError, {{0, 0xffffffff, 0}}),
      clear("zeroes with flags that do not exist are unsupported", kZero, kUnsupported, {{8, 8, 2}}),
      clear("zeroes for no sectors do nothing", kZero, kOk, {{8, 0, 0}}),
      clear("zeroes for a block are served", kZero, kOk, {{8, 8, 0}}),
      clear("zeroes that give space back are served", kZero, kOk, {{8, 8, 1}}),
      clear("zeroes for a sector of a block are served", kZero, kOk, {{8, 1, 1}}),
      clear("zeroes for three blocks and a half are served", kZero, kOk, {{8, 28, 0}}),
      clear("a discard of a block shows nothing of the layer below", kDiscard, kOk, {{8, 8, 0}}),
      clear("a discard to the end shows nothing of the layer below", kDiscard, kOk, {{8, kSectors - 8, 0}}),
      clear("a discard across the end is an error", kDiscard, kIoError, {{8, kSectors - 4, 0}}),
      clear("a discard whose second segment is bad has done the first", kDiscard, kIoError,
            {{16, 8, 0}, {kSectors, 8, 0}}),
  };
}

Rows<LayeredBlockBench> lives() {
  return {
      {"a discard of part of a block leaves the block",
       [](LayeredBlockBench& b) {
         CHECK(b.request(kDiscard, 0, bytes_of({{8, 7, 0}}), 0) == kOk);
         CHECK(b.sector(8) == std::string(512, 'b'));
       }},
      {"a write of a sector keeps the rest of its block",
       [](LayeredBlockBench& b) {
         CHECK(b.request(kOut, 9, std::string(512, 'w'), 0) == kOk);
         CHECK(b.sector(8) == std::string(512, 'b'));
         CHECK(b.sector(9) == std::string(512, 'w'));
         CHECK(b.sector(10) == std::string(512, 'b'));
       }},
      {"a write across all layers and back is read as one",
       [](LayeredBlockBench& b) {
         CHECK(b.request(kOut, 13, std::string(6 * 512, 'w'), 0) == kOk);
         CHECK(b.request(kIn, 0, {}, 32 * 512) == kOk);
         CHECK(b.answer.substr(0, 32 * 512) ==
               std::string(13 * 512, 'b') + std::string(6 * 512, 'w') + std::string(13 * 512, 'b'));
       }},
      {"a bottom that became shorter gives errors, also where a block must be copied",
       [](LayeredBlockBench& b) {
         REQUIRE(::ftruncate(b.bottom.get(), 0) == 0);
         CHECK(b.request(kIn, 0, {}, 512) == kIoError);
         CHECK(b.request(kOut, 1, std::string(512, 'w'), 0) == kIoError);
         CHECK(b.request(kWriteZeroes, 0, bytes_of({{1, 1, 0}}), 0) == kIoError);
         CHECK(b.request(kOut, 8, std::string(4096, 'w'), 0) == kOk);  // a whole block needs nothing from below
         CHECK_FALSE(b.broken());
         REQUIRE(::ftruncate(b.bottom.get(), static_cast<off_t>(kBytes)) == 0);
         const std::string content(kBytes, 'b');
         REQUIRE(::pwrite(b.bottom.get(), content.data(), kBytes, 0) == static_cast<ssize_t>(kBytes));
       }},
      {"a flush reaches the map", [](LayeredBlockBench& b) { CHECK(b.request(kFlush, 0, {}, 0) == kOk); }},
      {"zeroes of a read-only kind are not offered with the read-only feature",
       [](LayeredBlockBench& b) { CHECK_FALSE(b.driver.negotiate(*b.transport, 1ull << 5)); }},
  };
}

}  // namespace

Table layered_block_violations() {
  Table out = table("blk layered", ranges());
  append(out, lives());
  append_common<LayeredBlockBench>(out, ring_rows(0));
  return out;
}

}  // namespace sandforge::vmm::test
