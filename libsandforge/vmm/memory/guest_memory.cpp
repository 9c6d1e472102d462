// SPDX-License-Identifier: Apache-2.0
#include "vmm/memory/guest_memory.hpp"

#include <cstring>

namespace sandforge::vmm {

std::byte* GuestMemory::host(GuestAddress address, std::uint64_t length) const noexcept {
  for (const MemoryRegion& region : regions_) {
    if (address < region.start) continue;
    const std::uint64_t offset = address.value - region.start.value;
    if (offset < region.size && length <= region.size - offset) return region.host + offset;
  }
  return nullptr;
}

bool GuestMemory::contains(GuestAddress address, std::uint64_t length) const noexcept {
  return host(address, length) != nullptr;
}

bool GuestMemory::read(GuestAddress address, std::span<std::byte> out) const noexcept {
  const std::byte* from = host(address, out.size());
  if (from == nullptr) return false;
  std::memcpy(out.data(), from, out.size());
  return true;
}

bool GuestMemory::write(GuestAddress address, std::span<const std::byte> in) const noexcept {
  std::byte* to = host(address, in.size());
  if (to == nullptr) return false;
  std::memcpy(to, in.data(), in.size());
  return true;
}

bool GuestMemory::load_u16(GuestAddress address, std::uint16_t& out) const noexcept {
  std::byte* at = host(address, sizeof out);
  if (at == nullptr || address.value % sizeof out != 0) return false;
  // SAFETY: in range and aligned (regions start page-aligned); the guest writes it concurrently, hence atomic.
  out = __atomic_load_n(reinterpret_cast<std::uint16_t*>(at), __ATOMIC_ACQUIRE);
  return true;
}

bool GuestMemory::store_u16(GuestAddress address, std::uint16_t value) const noexcept {
  std::byte* at = host(address, sizeof value);
  if (at == nullptr || address.value % sizeof value != 0) return false;
  // SAFETY: as above.
  __atomic_store_n(reinterpret_cast<std::uint16_t*>(at), value, __ATOMIC_RELEASE);
  return true;
}

bool GuestMemory::io_range(GuestAddress address, std::uint64_t length, iovec& out) const noexcept {
  std::byte* at = host(address, length);
  if (at == nullptr) return false;
  out = {at, length};
  return true;
}

}  // namespace sandforge::vmm
