// SPDX-License-Identifier: Apache-2.0
// What a disk of layers holds, as a plain piece of memory: for the unit tests and for the fuzz target.
#pragma once

#include <cstdint>
#include <string>

#include "vmm/storage/block_map.hpp"

namespace sandforge::vmm::test {

inline void fill(std::string& model, std::uint64_t offset, std::uint64_t bytes, char content) {
  model.replace(offset, bytes, bytes, content);
}
// Whole blocks only; a short one at the end of the disk counts as whole.
inline void discard(std::string& model, std::uint64_t offset, std::uint64_t bytes) {
  const std::uint64_t first = (offset + kDiskBlock - 1) / kDiskBlock * kDiskBlock;
  const std::uint64_t end = offset + bytes == model.size() ? model.size() : (offset + bytes) / kDiskBlock * kDiskBlock;
  if (first < end) fill(model, first, end - first, '\0');
}

}  // namespace sandforge::vmm::test
