// SPDX-License-Identifier: Apache-2.0
// Which blocks of a disk a layer holds. A file beside the layer's data, mapped; one bit a block of 4 KiB:
//
//   0      4  magic "SDMP"        8     8  bytes of the disk      20 .. 4095  zero
//   4      4  version, 1          16    4  bytes of a block       4096 ..     block b is bit b % 8 of byte 4096 + b / 8
//
// All integers little-endian. The header is checked, never guessed from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/result.hpp"

namespace sandforge::vmm {

inline constexpr std::uint64_t kDiskBlock = 4096;

// One thread at a time. The file must not become shorter while it is mapped: a touch beyond its end kills the process.
class BlockMap {
 public:
  // What the file of a new, empty map starts with (the rest is zero), and how long it is.
  static std::string header(std::uint64_t disk_bytes);
  static std::uint64_t file_bytes(std::uint64_t disk_bytes);

  // `fd` is borrowed for the call. Errors: corrupt "bad_disk_map" when it is no map of a disk of this size.
  static base::Result<BlockMap> open(int fd, std::uint64_t disk_bytes, bool writable);
  BlockMap(BlockMap&& other) noexcept;
  BlockMap& operator=(BlockMap&&) = delete;
  ~BlockMap();

  // Precondition of all: within the disk.
  bool test(std::uint64_t block) const noexcept;
  // How many blocks from `first` on, `count` at most, have the answer that `first` has.
  std::uint64_t run(std::uint64_t first, std::uint64_t count) const noexcept;
  // Precondition: opened as writable.
  void set(std::uint64_t first, std::uint64_t count) noexcept;

 private:
  BlockMap(std::byte* mapping, std::uint64_t mapped) : mapping_(mapping), mapped_(mapped) {}
  std::byte& byte_of(std::uint64_t block) const noexcept { return mapping_[kDiskBlock + block / 8]; }

  std::byte* mapping_;
  std::uint64_t mapped_;
};

}  // namespace sandforge::vmm
