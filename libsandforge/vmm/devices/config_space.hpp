// SPDX-License-Identifier: Apache-2.0
// A device's configuration space is a packed struct; the guest reads any bytes of it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

namespace sandforge::vmm {

// Bytes beyond the struct stay as they are (the transport zeroed them).
template <typename Config>
requires std::is_trivially_copyable_v<Config>
void copy_config(const Config& config, std::uint32_t offset, std::span<std::byte> out) {
  if (offset >= sizeof config) return;
  const std::size_t count = std::min<std::size_t>(out.size(), sizeof config - offset);
  // SAFETY: offset < sizeof config and offset + count <= sizeof config.
  std::memcpy(out.data(), reinterpret_cast<const std::byte*>(&config) + offset, count);
}

}  // namespace sandforge::vmm
