// SPDX-License-Identifier: Apache-2.0
#include "vmm/storage/disk.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <string>
#include <utility>

#include "base/limits.hpp"

namespace sandforge::vmm {
namespace {

constexpr std::size_t kZeros = 64 * 1024;

base::Error bad(const char* what) {
  return base::make_error(base::Code::InvalidArgument, "bad_disk", std::string("a disk layer ") + what,
                          "create the sandbox again");
}

std::uint64_t total(std::span<const iovec> parts) {
  std::uint64_t bytes = 0;
  for (const iovec& part : parts) bytes += part.iov_len;
  return bytes;
}

// Takes the first `bytes` off the parts, which hold at least as many.
std::vector<iovec> take(std::vector<iovec>& parts, std::uint64_t bytes) {
  std::vector<iovec> taken;
  std::size_t whole = 0;
  for (; whole < parts.size() && bytes >= parts[whole].iov_len; ++whole) {
    bytes -= parts[whole].iov_len;
    taken.push_back(parts[whole]);
  }
  parts.erase(parts.begin(), parts.begin() + static_cast<std::ptrdiff_t>(whole));
  if (bytes > 0) {
    taken.push_back({parts.front().iov_base, bytes});
    parts.front().iov_base = static_cast<std::byte*>(parts.front().iov_base) + bytes;
    parts.front().iov_len -= bytes;
  }
  return taken;
}

// All of the parts, from or to one file.
base::Status move(int file, bool write, std::uint64_t offset, std::vector<iovec> parts) {
  std::erase_if(parts, [](const iovec& part) { return part.iov_len == 0; });
  while (!parts.empty()) {
    const auto count = static_cast<int>(std::min<std::size_t>(parts.size(), IOV_MAX));
    const auto at = static_cast<off_t>(offset);
    const ssize_t n = write ? ::pwritev(file, parts.data(), count, at) : ::preadv(file, parts.data(), count, at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::os_error(write ? "write to a disk" : "read from a disk");
    if (n == 0)
      return base::make_error(base::Code::Internal, "short_file", "a disk's file is shorter than it was",
                              "leave the files of a sandbox alone while it runs");
    offset += static_cast<std::uint64_t>(n);
    (void)take(parts, static_cast<std::uint64_t>(n));
  }
  return {};
}

base::Status check_file(int file, std::uint64_t bytes, bool read_only) {
  struct stat info {};
  if (::fstat(file, &info) != 0) return base::os_error("look at a disk layer");
  if (!S_ISREG(info.st_mode)) return bad("is no regular file");
  if (static_cast<std::uint64_t>(info.st_size) < bytes) return bad("is shorter than its disk");
  if (read_only && (::fcntl(file, F_GETFL) & O_ACCMODE) != O_RDONLY) return bad("that must not change is writable");
  return {};
}

}  // namespace

base::Result<Disk> Disk::open(std::vector<DiskLayer> layers, std::uint64_t bytes, bool read_only) {
  if (layers.empty() || layers.size() > limits::kDiskLayersMax) {
    return base::make_error(base::Code::InvalidArgument, "bad_disk", "a disk has no layers, or too many",
                            "give it 1 to " + std::to_string(limits::kDiskLayersMax));
  }
  if (bytes == 0 || bytes % 512 != 0) return bad("is of no whole number of sectors");
  Disk disk(bytes, read_only);
  for (DiskLayer& layer : layers) {
    const bool top = disk.layers_.empty(), bottom = disk.layers_.size() + 1 == layers.size();
    const bool frozen = read_only || !top;
    SANDFORGE_TRY_STATUS(check_file(layer.file.get(), bytes, frozen));
    if (bottom != !layer.map) return bad(bottom ? "at the bottom has a map" : "has no map");
    Layer opened{std::move(layer.file), std::move(layer.map), {}};
    if (!bottom) {
      SANDFORGE_TRY(BlockMap map, BlockMap::open(opened.map_file.get(), bytes, !frozen));
      opened.map.emplace(std::move(map));
    }
    disk.layers_.push_back(std::move(opened));
  }
  return disk;
}

Disk::Blocks Disk::blocks_of(std::uint64_t offset, std::uint64_t bytes) {
  if (bytes == 0) return {};
  const std::uint64_t first = offset / kDiskBlock, last = (offset + bytes - 1) / kDiskBlock;
  return {first, last - first + 1};
}

std::size_t Disk::find(std::uint64_t first, std::uint64_t& count) const {
  for (std::size_t i = 0; i + 1 < layers_.size(); ++i) {
    count = layers_[i].map->run(first, count);
    if (layers_[i].map->test(first)) return i;
  }
  return layers_.size() - 1;
}

base::Status Disk::read(std::uint64_t offset, std::vector<iovec> parts) const {
  if (layers_.size() == 1) return move(layers_[0].file.get(), false, offset, std::move(parts));
  for (std::uint64_t left = total(parts); left > 0;) {
    Blocks run = blocks_of(offset, left);
    const std::size_t layer = find(run.first, run.count);
    const std::uint64_t bytes = std::min(left, (run.first + run.count) * kDiskBlock - offset);
    SANDFORGE_TRY_STATUS(move(layers_[layer].file.get(), false, offset, take(parts, bytes)));
    offset += bytes;
    left -= bytes;
  }
  return {};
}

base::Status Disk::write(std::uint64_t offset, std::vector<iovec> parts) {
  const std::uint64_t bytes = total(parts);
  SANDFORGE_TRY_STATUS(copy_up_edges(offset, bytes));
  SANDFORGE_TRY_STATUS(move(layers_[0].file.get(), true, offset, std::move(parts)));
  hold(offset, bytes);
  return {};
}

base::Status Disk::zero(std::uint64_t offset, std::uint64_t bytes, bool unmap) {
  if (bytes == 0) return {};
  SANDFORGE_TRY_STATUS(copy_up_edges(offset, bytes));
  const int mode = FALLOC_FL_KEEP_SIZE | (unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
  const int file = layers_[0].file.get();
  if (::fallocate(file, mode, static_cast<off_t>(offset), static_cast<off_t>(bytes)) != 0) {
    if (errno != EOPNOTSUPP) return base::os_error("zero a part of a disk");
    static constexpr std::array<std::byte, kZeros> kNothing{};
    for (std::uint64_t done = 0; done < bytes;) {
      const std::uint64_t part = std::min<std::uint64_t>(bytes - done, kNothing.size());
      // SAFETY: only read from; iovec has no const.
      SANDFORGE_TRY_STATUS(move(file, true, offset + done, {{const_cast<std::byte*>(kNothing.data()), part}}));
      done += part;
    }
  }
  hold(offset, bytes);
  return {};
}

void Disk::discard(std::uint64_t offset, std::uint64_t bytes) {
  std::uint64_t end = offset + bytes;
  if (layers_.size() > 1) {  // the rest of a block may be in another layer
    offset = (offset + kDiskBlock - 1) / kDiskBlock * kDiskBlock;
    if (end != bytes_) end = end / kDiskBlock * kDiskBlock;
  }
  if (offset >= end) return;
  constexpr int kMode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  const auto start = static_cast<off_t>(offset), length = static_cast<off_t>(end - offset);
  // Where there can be no holes, all stays as it is. Else the top layer holds the blocks: as zeros.
  if (::fallocate(layers_[0].file.get(), kMode, start, length) == 0) hold(offset, end - offset);
}

base::Status Disk::flush() {
  if (::fdatasync(layers_[0].file.get()) != 0) return base::os_error("flush a disk");
  // Afterwards: what the map promises is there already. Changes by way of the mapping are covered.
  if (layers_.size() > 1 && ::fdatasync(layers_[0].map_file.get()) != 0) return base::os_error("flush a disk's map");
  return {};
}

base::Status Disk::copy_up_edges(std::uint64_t offset, std::uint64_t bytes) {
  if (layers_.size() == 1 || bytes == 0) return {};
  const std::uint64_t end = offset + bytes;
  if (offset % kDiskBlock != 0) SANDFORGE_TRY_STATUS(copy_up(offset / kDiskBlock));
  if (end % kDiskBlock != 0 && end != bytes_) SANDFORGE_TRY_STATUS(copy_up(end / kDiskBlock));
  return {};
}

base::Status Disk::copy_up(std::uint64_t block) {
  if (layers_[0].map->test(block)) return {};
  std::array<std::byte, kDiskBlock> content;
  const std::uint64_t offset = block * kDiskBlock;
  const iovec part{content.data(), std::min(kDiskBlock, bytes_ - offset)};
  SANDFORGE_TRY_STATUS(read(offset, {part}));
  SANDFORGE_TRY_STATUS(move(layers_[0].file.get(), true, offset, {part}));
  layers_[0].map->set(block, 1);
  return {};
}

void Disk::hold(std::uint64_t offset, std::uint64_t bytes) {
  if (layers_.size() == 1) return;
  const Blocks blocks = blocks_of(offset, bytes);
  layers_[0].map->set(blocks.first, blocks.count);
}

}  // namespace sandforge::vmm
