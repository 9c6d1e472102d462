// SPDX-License-Identifier: Apache-2.0
// Bytes between a chain's buffers and the monitor, however the driver cut them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "vmm/memory/guest_memory.hpp"
#include "vmm/virtio/queue.hpp"

namespace sandforge::vmm {

// Copies the first bytes of the buffers; false when there are too few.
[[nodiscard]] inline bool gather(const GuestMemory& memory, const std::vector<Buffer>& buffers,
                                 std::span<std::byte> out) {
  for (const Buffer& buffer : buffers) {
    const std::size_t part = std::min<std::size_t>(buffer.length, out.size());
    if (!memory.read(buffer.address, out.first(part))) return false;
    out = out.subspan(part);
    if (out.empty()) return true;
  }
  return out.empty();
}

// The other way.
[[nodiscard]] inline bool scatter(const GuestMemory& memory, const std::vector<Buffer>& buffers,
                                  std::span<const std::byte> in) {
  for (const Buffer& buffer : buffers) {
    const std::size_t part = std::min<std::size_t>(buffer.length, in.size());
    if (!memory.write(buffer.address, in.first(part))) return false;
    in = in.subspan(part);
    if (in.empty()) return true;
  }
  return in.empty();
}

// The buffers without their first `skip` bytes and without their last `drop`, as ranges for the kernel to copy.
inline std::vector<iovec> io_ranges(const GuestMemory& memory, const std::vector<Buffer>& buffers, std::uint64_t skip,
                                    std::uint64_t drop) {
  std::uint64_t left = 0;
  for (const Buffer& buffer : buffers) left += buffer.length;
  left -= std::min(left, skip + drop);
  std::vector<iovec> ranges;
  for (const Buffer& buffer : buffers) {
    const std::uint64_t skipped = std::min<std::uint64_t>(skip, buffer.length);
    skip -= skipped;
    const std::uint64_t length = std::min<std::uint64_t>(buffer.length - skipped, left);
    iovec range{};
    if (length > 0 && memory.io_range(buffer.address + skipped, length, range)) ranges.push_back(range);
    left -= length;
  }
  return ranges;
}

}  // namespace sandforge::vmm
