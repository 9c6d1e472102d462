// SPDX-License-Identifier: Apache-2.0
#include "vmm/storage/disk.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <random>

#include "base/limits.hpp"
#include "vmm/storage/disk_files.hpp"
#include "vmm/storage/disk_model.hpp"

using namespace sandforge;
using vmm::Disk;
using vmm::DiskLayer;
using vmm::kDiskBlock;
using namespace vmm::test;

namespace {

constexpr std::uint64_t kBytes = 20 * kDiskBlock + 512;  // the last block is a short one

iovec part_of(std::string& bytes) { return {bytes.data(), bytes.size()}; }

std::string read(const Disk& disk, std::uint64_t offset, std::uint64_t bytes) {
  std::string out(bytes, '?');
  CHECK(disk.read(offset, {part_of(out)}));
  return out;
}
void write(Disk& disk, std::uint64_t offset, std::string content) { CHECK(disk.write(offset, {part_of(content)})); }

// Files of a disk with `below` frozen layers beneath its top; the bottom is filled with 'b'.
struct Files {
  struct Layer {
    base::UniqueFd file, map;
  };
  std::vector<Layer> layers;

  explicit Files(std::size_t below) {
    for (std::size_t i = 0; i < below; ++i) layers.push_back({memory_file(kBytes), memory_map(kBytes)});
    layers.push_back({memory_file(kBytes, std::string(kBytes, 'b')), {}});
  }
  Disk open(bool read_only = false) const {
    auto disk = Disk::open(descriptors(read_only), kBytes, read_only);
    REQUIRE(disk);
    return std::move(disk).value();
  }
  std::vector<DiskLayer> descriptors(bool read_only = false) const {
    std::vector<DiskLayer> out;
    for (const Layer& layer : layers) {
      const int flags = out.empty() && !read_only ? O_RDWR : O_RDONLY;
      out.push_back({reopen(layer.file, flags), layer.map ? reopen(layer.map, flags) : base::UniqueFd()});
    }
    return out;
  }
  // What was the top is frozen, and a new one laid over it.
  void freeze() { layers.insert(layers.begin(), {memory_file(kBytes), memory_map(kBytes)}); }
};

std::uint64_t held_bytes(const base::UniqueFd& file) {
  struct stat info {};
  REQUIRE(::fstat(file.get(), &info) == 0);
  return static_cast<std::uint64_t>(info.st_blocks) * 512;
}

}  // namespace

TEST_CASE("a disk of one file reads and writes at the file's own offsets") {
  base::UniqueFd file = memory_file(kBytes, std::string(kBytes, 'b'));
  std::vector<DiskLayer> one(1);
  one[0].file = reopen(file, O_RDWR);
  auto opened = Disk::open(std::move(one), kBytes, false);
  REQUIRE(opened);
  Disk& disk = opened.value();
  write(disk, 512, std::string(1024, 'w'));
  CHECK(read(disk, 0, 2048) == std::string(512, 'b') + std::string(1024, 'w') + std::string(512, 'b'));
  CHECK(disk.zero(1024, 512, true));
  disk.discard(2048, 512);
  CHECK(read(disk, 512, 2048) ==
        std::string(512, 'w') + std::string(512, '\0') + std::string(512, 'b') + std::string(512, '\0'));
  CHECK(disk.flush());
}

TEST_CASE("a block that the top does not hold is read from below, and part of it can be written") {
  const Files files(1);
  Disk disk = files.open();
  CHECK(read(disk, 0, kBytes) == std::string(kBytes, 'b'));
  write(disk, 3 * kDiskBlock + 512, std::string(512, 'w'));
  std::string expected(kBytes, 'b');
  expected.replace(3 * kDiskBlock + 512, 512, 512, 'w');
  CHECK(read(disk, 0, kBytes) == expected);
  CHECK(held_bytes(files.layers[0].file) == kDiskBlock);
  std::string bottom(kBytes, '\0');
  CHECK(::pread(files.layers[1].file.get(), bottom.data(), kBytes, 0) == static_cast<ssize_t>(kBytes));
  CHECK(bottom == std::string(kBytes, 'b'));
}

TEST_CASE("what is discarded or zeroed reads as zeros and takes no space, whatever lies below") {
  const Files files(1);
  Disk disk = files.open();
  write(disk, 0, std::string(8 * kDiskBlock, 'w'));
  disk.discard(512, 4 * kDiskBlock);  // whole blocks: 1, 2, 3
  CHECK(read(disk, 0, 5 * kDiskBlock) ==
        std::string(kDiskBlock, 'w') + std::string(3 * kDiskBlock, '\0') + std::string(kDiskBlock, 'w'));
  CHECK(disk.zero(9 * kDiskBlock + 512, kDiskBlock, true));
  std::string expected(3 * kDiskBlock, 'b');
  expected.replace(512, kDiskBlock, kDiskBlock, '\0');
  CHECK(read(disk, 9 * kDiskBlock, 3 * kDiskBlock) == expected);
  CHECK(held_bytes(files.layers[0].file) <= 7 * kDiskBlock);
  disk.discard(12 * kDiskBlock, kBytes - 12 * kDiskBlock);  // to the end, the short block included
  CHECK(read(disk, 12 * kDiskBlock, kBytes - 12 * kDiskBlock) == std::string(kBytes - 12 * kDiskBlock, '\0'));
}

TEST_CASE("a layered disk behaves as one piece of memory, across reopening and freezing") {
  Files files(1);
  std::string model(kBytes, 'b');
  std::mt19937 random(7);
  const auto pick = [&random](std::uint64_t below) { return random() % below; };
  for (int life = 0; life < 12; ++life) {
    Disk disk = files.open();
    for (int step = 0; step < 60; ++step) {
      const std::uint64_t offset = pick(kBytes / 512) * 512;
      const std::uint64_t bytes = std::min((1 + pick(24)) * 512, kBytes - offset);
      const auto fill = static_cast<char>('A' + pick(26));
      switch (pick(4)) {
        case 0: {
          // In two parts, the first of odd length.
          std::string content(bytes, fill);
          const std::size_t cut = pick(bytes);
          CHECK(disk.write(offset, {{content.data(), cut}, {content.data() + cut, bytes - cut}}));
          vmm::test::fill(model, offset, bytes, fill);
          break;
        }
        case 1:
          CHECK(disk.zero(offset, bytes, pick(2) == 0));
          vmm::test::fill(model, offset, bytes, '\0');
          break;
        case 2:
          disk.discard(offset, bytes);
          vmm::test::discard(model, offset, bytes);
          break;
        default: break;
      }
      const bool same = read(disk, offset, bytes) == model.substr(offset, bytes);
      CHECK(same);
    }
    const bool same = read(disk, 0, kBytes) == model;
    CHECK(same);
    CHECK(disk.flush());
    if (life % 3 == 2) files.freeze();
  }
  const bool same = read(files.open(true), 0, kBytes) == model;
  CHECK(same);
  CHECK(files.layers.size() == 6);
}

TEST_CASE("layers that make no disk are refused before anything is read") {
  const Files files(2);
  std::vector<DiskLayer> layers = files.descriptors();
  std::uint64_t bytes = kBytes;
  bool read_only = false;
  const char* reason = "bad_disk";
  SUBCASE("none") { layers.clear(); }
  SUBCASE("too many") {
    while (layers.size() <= limits::kDiskLayersMax) {
      layers.insert(layers.begin() + 1, {memory_file(kBytes), memory_map(kBytes)});
    }
  }
  SUBCASE("no sectors") { bytes = 0; }
  SUBCASE("half a sector") { bytes = kBytes - 256; }
  SUBCASE("a file that is too short") { layers[1].file = memory_file(kBytes - 512); }
  SUBCASE("a pipe") {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    layers[2].file.reset(ends[0]);
    ::close(ends[1]);
  }
  SUBCASE("a frozen layer that can be written to") { layers[1].file = reopen(files.layers[1].file, O_RDWR); }
  SUBCASE("a read-only disk whose top can be written to") { read_only = true; }
  SUBCASE("no map") { layers[1].map.reset(); }
  SUBCASE("a map at the bottom") { layers[2].map = memory_map(kBytes); }
  SUBCASE("a map of a larger disk") {
    layers[0].map = memory_map(kBytes + 100 * kDiskBlock);
    reason = "bad_disk_map";
  }
  SUBCASE("a map of a disk of other bytes in as many blocks") {
    layers[0].map = memory_map(kBytes + 512);
    reason = "bad_disk_map";
  }
  SUBCASE("a map that is cut short") {
    REQUIRE(::ftruncate(layers[0].map.get(), 4098) == 0);
    reason = "bad_disk_map";
  }
  SUBCASE("an empty map") {
    layers[0].map = memory_file(0);
    reason = "bad_disk_map";
  }
  SUBCASE("a map that is a device") {
    layers[0].map.reset(::open("/dev/null", O_RDWR | O_CLOEXEC));
    reason = "bad_disk_map";
  }
  const auto disk = Disk::open(std::move(layers), bytes, read_only);
  REQUIRE_FALSE(disk);
  CHECK(disk.error().reason == reason);
}

TEST_CASE("every flipped bit in the header of a map is seen") {
  for (std::size_t bit = 0; bit < vmm::BlockMap::header(kBytes).size() * 8; ++bit) {
    base::UniqueFd file = memory_map(kBytes);
    unsigned char byte = 0;
    REQUIRE(::pread(file.get(), &byte, 1, static_cast<off_t>(bit / 8)) == 1);
    byte = static_cast<unsigned char>(byte ^ (1u << (bit % 8)));
    REQUIRE(::pwrite(file.get(), &byte, 1, static_cast<off_t>(bit / 8)) == 1);
    const auto map = vmm::BlockMap::open(file.get(), kBytes, true);
    REQUIRE_FALSE(map);
    CHECK(map.error().reason == "bad_disk_map");
  }
}

TEST_CASE("a file that becomes shorter is an error, not a loop") {
  const Files files(1);
  Disk disk = files.open();
  REQUIRE(::ftruncate(files.layers[1].file.get(), 0) == 0);
  std::string out(512, '\0');
  const auto got = disk.read(0, {part_of(out)});
  REQUIRE_FALSE(got);
  CHECK(got.error().reason == "short_file");
  std::string content(512, 'w');
  CHECK_FALSE(disk.write(512, {part_of(content)}));  // the rest of the block cannot be had
}
