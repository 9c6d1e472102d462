// SPDX-License-Identifier: Apache-2.0
// Guest memory as seen by the monitor: an address of the guest is a type that cannot be dereferenced; bytes are copied
// in or out through one accessor that checks the whole range. The guest may change any of it at any time.
#pragma once

#include <sys/uio.h>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

namespace sandforge::vmm {

// Guest-physical. Arithmetic that wraps gives an address that no region holds.
struct GuestAddress {
  std::uint64_t value = 0;

  friend auto operator<=>(GuestAddress, GuestAddress) = default;
  friend GuestAddress operator+(GuestAddress a, std::uint64_t n) {
    std::uint64_t sum = 0;
    return GuestAddress{__builtin_add_overflow(a.value, n, &sum) ? UINT64_MAX : sum};
  }
};

// Which part of the address space a piece of host memory backs. The mapping is borrowed and outlives GuestMemory.
struct MemoryRegion {
  GuestAddress start;
  std::uint64_t size = 0;
  std::byte* host = nullptr;
};

// Any thread: the object does not change after construction, and the bytes are the guest's problem.
class GuestMemory {
 public:
  // Precondition: regions do not overlap and do not wrap.
  explicit GuestMemory(std::vector<MemoryRegion> regions) : regions_(std::move(regions)) {}

  // True when [address, address + length) lies within one region. Zero bytes are valid anywhere in a region.
  bool contains(GuestAddress address, std::uint64_t length) const noexcept;

  // Copies; false (and nothing copied) when the range is not the guest's.
  [[nodiscard]] bool read(GuestAddress address, std::span<std::byte> out) const noexcept;
  [[nodiscard]] bool write(GuestAddress address, std::span<const std::byte> in) const noexcept;

  template <typename T>
  requires std::is_trivially_copyable_v<T>
  [[nodiscard]] bool read_object(GuestAddress address, T& out) const noexcept {
    return read(address, std::as_writable_bytes(std::span(&out, 1)));
  }
  template <typename T>
  requires std::is_trivially_copyable_v<T>
  [[nodiscard]] bool write_object(GuestAddress address, const T& in) const noexcept {
    return write(address, std::as_bytes(std::span(&in, 1)));
  }

  // Ring indices, shared with a running vCPU: one access of two bytes, acquire or release. False when not the guest's
  // or not aligned.
  [[nodiscard]] bool load_u16(GuestAddress address, std::uint16_t& out) const noexcept;
  [[nodiscard]] bool store_u16(GuestAddress address, std::uint16_t value) const noexcept;

  // For system calls that move bytes between a descriptor and guest memory (preadv, pwritev, sendmsg): the kernel
  // checks nothing that matters more than this range. Never read through the pointer. False when not the guest's.
  [[nodiscard]] bool io_range(GuestAddress address, std::uint64_t length, iovec& out) const noexcept;

  const std::vector<MemoryRegion>& regions() const noexcept { return regions_; }

 private:
  std::byte* host(GuestAddress address, std::uint64_t length) const noexcept;

  std::vector<MemoryRegion> regions_;
};

}  // namespace sandforge::vmm
