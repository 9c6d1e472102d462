// SPDX-License-Identifier: Apache-2.0
#include "vmm/storage/block_map.hpp"

#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace sandforge::vmm {
namespace {

struct Header {
  std::uint32_t magic = 0x504d4453;  // "SDMP"
  std::uint32_t version = 1;
  std::uint64_t disk_bytes = 0;
  std::uint32_t block_bytes = kDiskBlock;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(Header) == 24 && sizeof(Header) <= kDiskBlock);

base::Error bad(const char* what) {
  return base::make_error(base::Code::Corrupt, "bad_disk_map", std::string("the map of a disk layer ") + what,
                          "create the sandbox again");
}

}  // namespace

std::string BlockMap::header(std::uint64_t disk_bytes) {
  Header header;
  header.disk_bytes = disk_bytes;
  // SAFETY: any bytes may be looked at as char.
  return {reinterpret_cast<const char*>(&header), sizeof header};
}

std::uint64_t BlockMap::file_bytes(std::uint64_t disk_bytes) {
  const std::uint64_t blocks = disk_bytes / kDiskBlock + (disk_bytes % kDiskBlock != 0 ? 1 : 0);
  return kDiskBlock + (blocks + 7) / 8;
}

base::Result<BlockMap> BlockMap::open(int fd, std::uint64_t disk_bytes, bool writable) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return base::os_error("look at the map of a disk layer");
  const std::uint64_t bytes = file_bytes(disk_bytes);
  if (!S_ISREG(info.st_mode)) return bad("is no regular file");
  if (static_cast<std::uint64_t>(info.st_size) != bytes) return bad("does not have the length of its disk's");
  void* at = ::mmap(nullptr, bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return base::os_error("map the map of a disk layer");
  BlockMap map(static_cast<std::byte*>(at), bytes);
  if (std::memcmp(map.mapping_, header(disk_bytes).data(), sizeof(Header)) != 0) return bad("has another header");
  return map;
}

BlockMap::BlockMap(BlockMap&& other) noexcept
    : mapping_(std::exchange(other.mapping_, nullptr)), mapped_(other.mapped_) {}

BlockMap::~BlockMap() {
  if (mapping_ != nullptr) ::munmap(mapping_, mapped_);
}

bool BlockMap::test(std::uint64_t block) const noexcept {
  return ((std::to_integer<unsigned>(byte_of(block)) >> (block % 8)) & 1) != 0;
}

std::uint64_t BlockMap::run(std::uint64_t first, std::uint64_t count) const noexcept {
  const bool held = test(first);
  const std::byte whole{held ? std::uint8_t{0xff} : std::uint8_t{0}};
  std::uint64_t length = 0;
  while (length < count) {
    const std::uint64_t block = first + length;
    // Eight at a time where they are alike.
    if (block % 8 == 0 && count - length >= 8 && byte_of(block) == whole) {
      length += 8;
    } else if (test(block) == held) {
      ++length;
    } else {
      break;
    }
  }
  return length;
}

void BlockMap::set(std::uint64_t first, std::uint64_t count) noexcept {
  for (std::uint64_t block = first; block < first + count;) {
    if (block % 8 == 0 && first + count - block >= 8) {
      byte_of(block) = std::byte{0xff};
      block += 8;
    } else {
      byte_of(block) |= std::byte{1} << (block % 8);
      ++block;
    }
  }
}

}  // namespace sandforge::vmm
