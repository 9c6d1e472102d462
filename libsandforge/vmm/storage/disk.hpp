// SPDX-License-Identifier: Apache-2.0
// The bytes of a virtual disk: one file, or layers of files. A layer holds some blocks of the disk at their own offsets
// in a sparse file as long as the disk; its map tells which. The uppermost layer that holds a block is where it is.
//
//   top      data, map    read-write: whatever is written, zeroed or discarded
//   ...      data, map    read-only, frozen
//   bottom   data         read-only, holds every block
//
// No format is guessed: whether there are layers, and which, is said by whoever opens the disk.
// A kill at any time loses nothing that was acknowledged: data is in its file before the map says so. After a crash of
// the host, what was flushed is there.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "vmm/storage/block_map.hpp"

namespace sandforge::vmm {

struct DiskLayer {
  base::UniqueFd file;
  base::UniqueFd map;  // none: the layer holds every block
};

// Device loop thread only. All calls BLOCK on the host's file system. Ranges lie within the disk (precondition), in
// bytes. Errors: those of the system calls; internal "short_file" when a file became shorter.
class Disk {
 public:
  // From the top down, 1 to limits::kDiskLayersMax; all but the last have a map. What lies below the top, and all of a
  // read-only disk, must have been opened read-only. Errors: invalid_argument "bad_disk", corrupt "bad_disk_map".
  static base::Result<Disk> open(std::vector<DiskLayer> layers, std::uint64_t bytes, bool read_only);

  std::uint64_t bytes() const noexcept { return bytes_; }
  bool read_only() const noexcept { return read_only_; }

  base::Status read(std::uint64_t offset, std::vector<iovec> parts) const;
  // Precondition of all that follow: not read-only.
  base::Status write(std::uint64_t offset, std::vector<iovec> parts);
  // The range reads as zeros afterwards; with `unmap`, its space is given back where the file system can.
  base::Status zero(std::uint64_t offset, std::uint64_t bytes, bool unmap);
  // A hint: the space of whole blocks is given back where the file system can, and they read as zeros then.
  void discard(std::uint64_t offset, std::uint64_t bytes);
  base::Status flush();

 private:
  struct Layer {
    base::UniqueFd file, map_file;
    std::optional<BlockMap> map;
  };
  // Blocks that a range touches.
  struct Blocks {
    std::uint64_t first = 0, count = 0;
  };

  Disk(std::uint64_t bytes, bool read_only) : bytes_(bytes), read_only_(read_only) {}

  static Blocks blocks_of(std::uint64_t offset, std::uint64_t bytes);
  // Which layer holds `first`, and for how many blocks, `count` at most, that is so.
  std::size_t find(std::uint64_t first, std::uint64_t& count) const;
  // Before part of a block is changed in the top layer, the whole of it must be there.
  base::Status copy_up_edges(std::uint64_t offset, std::uint64_t bytes);
  base::Status copy_up(std::uint64_t block);
  void hold(std::uint64_t offset, std::uint64_t bytes);

  std::vector<Layer> layers_;  // from the top down
  std::uint64_t bytes_;
  bool read_only_;
};

}  // namespace sandforge::vmm
