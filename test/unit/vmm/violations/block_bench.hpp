// SPDX-License-Identifier: Apache-2.0
// A disk of one megabyte on a bench, and the requests that go to it.
#pragma once

#include <fcntl.h>

#include <array>
#include <string>
#include <vector>

#include "vmm/devices/block.hpp"
#include "vmm/storage/disk_files.hpp"
#include "vmm/violations/bench.hpp"

namespace sandforge::vmm::test {

namespace blk {
inline constexpr std::uint32_t kIn = 0, kOut = 1, kFlush = 4, kGetId = 8, kDiscard = 11, kWriteZeroes = 13;
inline constexpr int kOk = 0, kIoError = 1, kUnsupported = 2, kNone = -1;  // kNone: nothing came back
inline constexpr std::uint64_t kSectors = 2048;

struct Header {
  std::uint32_t type = 0, reserved = 0;
  std::uint64_t sector = 0;
};
inline std::string header(std::uint32_t type, std::uint64_t sector) {
  const Header raw{type, 0, sector};
  return std::string(reinterpret_cast<const char*>(&raw), sizeof raw);  // SAFETY: any bytes may be looked at as char
}
}  // namespace blk

class BlockBench : public Bench {
 public:
  explicit BlockBench(bool read_only = false) : Bench(1), read_only_(read_only) {}

  // One chain: header and `data` to the device, `writable` bytes and a status byte from it. The status.
  int request(std::uint32_t type, std::uint64_t sector, const std::string& data, std::uint32_t writable) {
    driver.offer(0, blk::header(type, sector) + data, writable + 1);
    return finish(writable + 1);
  }
  // Of a chain that is in the queue already, `writable` bytes with its status byte at the end of one buffer.
  int finish(std::uint32_t writable) {
    kick(0);
    const auto used = driver.used(0);
    if (used.empty()) return blk::kNone;
    answer = used.front();
    // The device tells how much it wrote up to the status byte; what it did not fill is not counted.
    if (answer.size() > writable) return blk::kNone;
    return status_of_last();
  }
  void use() override {
    const std::string content(512, read_only_ ? '\0' : 'u');
    if (!read_only_) CHECK(request(blk::kOut, 1, content, 0) == blk::kOk);
    CHECK(request(blk::kIn, 1, {}, 512) == blk::kOk);
    REQUIRE(answer.size() == 513);
    CHECK(answer.substr(0, 512) == content);
  }

  std::string answer;
  int file = -1;  // the device's descriptor, borrowed

 protected:
  std::unique_ptr<Device> make() override {
    std::vector<DiskLayer> layers(1);
    layers[0].file = memory_file(blk::kSectors * 512);
    if (read_only_) layers[0].file = reopen(layers[0].file, O_RDONLY);
    file = layers[0].file.get();
    auto disk = Disk::open(std::move(layers), blk::kSectors * 512, read_only_);
    REQUIRE(disk);
    return std::make_unique<Block>(std::move(disk).value(), "serial");
  }

 private:
  // The last byte of the last descriptor of the chain that was given back last.
  int status_of_last() const {
    const auto slot = static_cast<std::uint16_t>(driver.used_index(0) - 1) % FakeDriver::kSize;
    auto index = driver.get<std::uint32_t>(driver.used_ring(0) + (4ull + 8ull * slot));
    RawDescriptor raw;
    for (int hops = 0; hops <= FakeDriver::kSize; ++hops) {
      raw = driver.get<RawDescriptor>(driver.descriptors(0) + 16ull * index);
      if ((raw.flags & kNext) == 0) break;
      index = raw.next;
    }
    return driver.get<std::uint8_t>(GuestAddress{raw.address + raw.length - 1});
  }

  bool read_only_;
};

class ReadOnlyBlockBench final : public BlockBench {
 public:
  ReadOnlyBlockBench() : BlockBench(true) {}
};

}  // namespace sandforge::vmm::test
