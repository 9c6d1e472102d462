// SPDX-License-Identifier: Apache-2.0
// Puts kernel, initrd, command line and the PVH start-of-day structures into the guest's memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "vmm/memory/guest_ram.hpp"

namespace sandforge::vmm {

struct BootFiles {
  int kernel = -1;  // descriptors, borrowed; regular files
  int initrd = -1;
};

struct GuestRange {
  GuestAddress address;
  std::uint64_t bytes = 0;
};

// What the first vCPU starts with.
struct BootEntry {
  std::uint32_t eip = 0;
  std::uint32_t ebx = 0;  // the start_info
  // Pages of files that the kernel will write to soon, for GuestRam::make_private. Left to the guest, each costs three
  // exits: it reads the page, then writes to it, and the private copy takes the page away from it in between.
  std::vector<GuestRange> soon_written;
};

// Errors: invalid_argument "bad_kernel", "bad_initrd", "bad_command_line", "memory_too_small".
base::Result<BootEntry> load_guest(GuestRam& ram, const BootFiles& files, const std::string& command_line);

}  // namespace sandforge::vmm
