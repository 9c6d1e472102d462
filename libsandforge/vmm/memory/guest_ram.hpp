// SPDX-License-Identifier: Apache-2.0
// The guest's RAM: one private mapping of the host, seen by the guest in one or two pieces around the device hole.
#pragma once

#include <cstdint>

#include "base/result.hpp"
#include "vmm/memory/guest_memory.hpp"

namespace sandforge::vmm {

// The address space between the two pieces belongs to devices and APICs.
inline constexpr std::uint64_t kDeviceHoleStart = 0xc000'0000;  // 3 GiB
inline constexpr std::uint64_t kDeviceHoleEnd = 0x1'0000'0000;  // 4 GiB
inline constexpr std::uint64_t kPage = 4096;

// One thread until the guest runs; afterwards only memory() is used, by any thread.
class GuestRam {
 public:
  // Reserves (does not touch) `bytes`, a multiple of a page. Errors: invalid_argument, exhausted.
  static base::Result<GuestRam> create(std::uint64_t bytes);
  GuestRam(GuestRam&& other) noexcept;
  GuestRam& operator=(GuestRam&&) = delete;
  ~GuestRam();

  const GuestMemory& memory() const noexcept { return memory_; }
  // End of the piece that starts at 0.
  std::uint64_t low_end() const noexcept { return memory_.regions().front().size; }

  // Lays `bytes` of a file at `address`, copy-on-write where file and memory agree on page borders, by reading
  // elsewhere. The file must not become shorter while the guest lives: a touch beyond its end kills the monitor.
  // Errors, which name it as `what`: invalid_argument when the range is not RAM, corrupt when the file is too short.
  base::Status place_file(GuestAddress address, int fd, std::uint64_t offset, std::uint64_t bytes,
                          const char* what = "a file");
  // Gives the whole pages within a range that was placed from a file their private copies now, not at the first write.
  // Saves time only: does nothing on hosts that cannot (before Linux 5.14).
  void make_private(GuestAddress address, std::uint64_t bytes);

 private:
  GuestRam(std::byte* mapping, std::uint64_t mapped, std::byte* ram, std::uint64_t bytes);

  std::byte* mapping_;    // starts and ends with pages without access
  std::uint64_t mapped_;  // bytes, guard pages included
  GuestMemory memory_;
};

}  // namespace sandforge::vmm
