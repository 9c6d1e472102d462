// SPDX-License-Identifier: Apache-2.0
// Reads a Linux kernel as an ELF file (vmlinux): where its segments go and where it is entered by the PVH protocol.
// Nothing in the file is believed: it may be truncated, overlapping or no kernel at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "vmm/memory/guest_memory.hpp"

namespace sandforge::vmm {

struct KernelSegment {
  std::uint64_t file_offset = 0;
  std::uint64_t file_bytes = 0;
  GuestAddress address;
  std::uint64_t memory_bytes = 0;  // at least file_bytes; the rest is zero
};

// A piece of a segment that the kernel writes to while it boots: data, and code, which it patches.
struct WrittenPiece {
  std::uint64_t file_offset = 0;
  GuestAddress address;
  std::uint64_t bytes = 0;
};

struct ElfKernel {
  std::uint32_t entry = 0;              // guest-physical, of the 32-bit PVH entry
  std::vector<KernelSegment> segments;  // in ascending order, not overlapping, within the file, above 1 MiB
  std::uint64_t end = 0;                // of the last segment
  std::vector<WrittenPiece> written;    // a hint, from the section headers if they make sense; each in one segment
};

// Errors: invalid_argument "bad_kernel", with what is wrong and what to do.
base::Result<ElfKernel> parse_elf_kernel(std::span<const std::byte> file);

}  // namespace sandforge::vmm
