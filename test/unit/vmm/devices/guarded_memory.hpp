// SPDX-License-Identifier: Apache-2.0
// Guest memory of a test in which an access outside of it does not go unseen: each region ends, and starts, at a page
// that nobody may touch.
#pragma once

#include <sys/mman.h>

#include <cstdlib>
#include <vector>

#include "vmm/memory/guest_memory.hpp"

namespace sandforge::vmm::test {

class GuardedMemory {
 public:
  static constexpr std::size_t kGuard = 4096;
  // One megabyte for the driver; then a hole, and 64 KiB that end 64 KiB below 2^64.
  static constexpr std::uint64_t kLowBytes = 1 << 20, kHighStart = 0xffff'ffff'fffe'0000, kHighBytes = 0x10000;

  GuardedMemory() : memory_({add(0, kLowBytes), add(kHighStart, kHighBytes)}) {}
  GuardedMemory(const GuardedMemory&) = delete;
  ~GuardedMemory() {
    for (const MemoryRegion& region : memory_.regions()) ::munmap(region.host - kGuard, region.size + 2 * kGuard);
  }

  const GuestMemory& memory() const { return memory_; }
  std::byte* low() const { return memory_.regions().front().host; }

 private:
  static MemoryRegion add(std::uint64_t start, std::uint64_t bytes) {
    void* at = ::mmap(nullptr, bytes + 2 * kGuard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) std::abort();
    std::byte* host = static_cast<std::byte*>(at) + kGuard;
    if (::mprotect(host, bytes, PROT_READ | PROT_WRITE) != 0) std::abort();
    return {GuestAddress{start}, bytes, host};
  }

  GuestMemory memory_;
};

}  // namespace sandforge::vmm::test
