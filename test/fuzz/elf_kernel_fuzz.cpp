// SPDX-License-Identifier: Apache-2.0
// Fuzz target: the ELF reader of guest kernels. What it accepts must lie within the file and above 1 MiB.
#include <cstdint>
#include <cstdlib>
#include <span>

#include "vmm/arch/x86_64/elf_kernel.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto kernel = sandforge::vmm::parse_elf_kernel(std::as_bytes(std::span(data, size)));
  if (!kernel) return 0;
  for (const auto& segment : kernel.value().segments) {
    if (segment.file_offset > size || segment.file_bytes > size - segment.file_offset) std::abort();
    if (segment.memory_bytes < segment.file_bytes || segment.address.value < 0x100000) std::abort();
  }
  return 0;
}
