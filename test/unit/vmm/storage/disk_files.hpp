// SPDX-License-Identifier: Apache-2.0
// Files in memory for the layers of a disk.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "base/unique_fd.hpp"
#include "vmm/storage/block_map.hpp"

namespace sandforge::vmm::test {

inline base::UniqueFd memory_file(std::uint64_t bytes, std::string_view content = {}) {
  base::UniqueFd fd(::memfd_create("layer", MFD_CLOEXEC));
  REQUIRE(fd);
  REQUIRE(::ftruncate(fd.get(), static_cast<off_t>(bytes)) == 0);
  REQUIRE(::pwrite(fd.get(), content.data(), content.size(), 0) == static_cast<ssize_t>(content.size()));
  return fd;
}
inline base::UniqueFd memory_map(std::uint64_t disk_bytes) {
  return memory_file(BlockMap::file_bytes(disk_bytes), BlockMap::header(disk_bytes));
}
// The same file, by another descriptor.
inline base::UniqueFd reopen(const base::UniqueFd& fd, int flags) {
  base::UniqueFd again(::open(("/proc/self/fd/" + std::to_string(fd.get())).c_str(), flags | O_CLOEXEC));
  REQUIRE(again);
  return again;
}

}  // namespace sandforge::vmm::test
