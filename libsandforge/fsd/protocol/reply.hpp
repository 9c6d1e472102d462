// SPDX-License-Identifier: Apache-2.0
// Builds the answer to one request in a buffer that the transport lends. An answer is never longer than the buffer,
// than the table of opcodes allows, nor than the guest asked for; what does not fit is not written.
#pragma once

#include <linux/fuse.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

namespace sandforge::fsd {

class Reply {
 public:
  // `space` outlives this; it holds at least a header. `body_max`: the cap of the opcode.
  Reply(std::span<std::byte> space, std::uint64_t unique, std::size_t body_max) noexcept
      : space_(space.first(std::min(space.size(), sizeof(fuse_out_header) + body_max))), unique_(unique) {}

  // A cap of the guest's own, of those that say how much they want to read.
  void limit(std::size_t body_max) noexcept {
    space_ = space_.first(std::max(used_, std::min(space_.size(), sizeof(fuse_out_header) + body_max)));
  }

  // Appends; false when it does not fit, and nothing has changed.
  bool append_bytes(std::span<const std::byte> bytes) noexcept {
    if (bytes.size() > room().size()) return false;
    if (!bytes.empty()) std::memcpy(room().data(), bytes.data(), bytes.size());
    used_ += bytes.size();
    return true;
  }
  template <typename T>
  requires std::is_trivially_copyable_v<T>
  bool append(const T& value) noexcept { return append_bytes(std::as_bytes(std::span<const T, 1>(&value, 1))); }

  // What is still free: data can be read straight into it, then grow() by as much as came.
  std::span<std::byte> room() const noexcept { return space_.subspan(used_); }
  void grow(std::size_t bytes) noexcept { used_ += std::min(bytes, space_.size() - used_); }
  std::size_t body_bytes() const noexcept { return used_ - sizeof(fuse_out_header); }

  // The whole message: with what was appended, or with an errno alone. Kernels take errnos up to 511 only.
  std::span<const std::byte> finish(int error = 0) noexcept {
    if (error != 0) used_ = sizeof(fuse_out_header);
    if (error < 0 || error >= 512) error = EIO;
    const fuse_out_header header{static_cast<std::uint32_t>(used_), -error, unique_};
    std::memcpy(space_.data(), &header, sizeof header);
    return space_.first(used_);
  }

 private:
  std::span<std::byte> space_;
  std::uint64_t unique_;
  std::size_t used_ = sizeof(fuse_out_header);
};

}  // namespace sandforge::fsd
