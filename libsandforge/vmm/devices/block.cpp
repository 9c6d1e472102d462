// SPDX-License-Identifier: Apache-2.0
#include "vmm/devices/block.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/limits.hpp"
#include "vmm/devices/config_space.hpp"
#include "vmm/devices/transfer.hpp"
#include "vmm/devices/turn.hpp"

namespace sandforge::vmm {
namespace {

// SPEC: virtio 1.2, 5.2.3 (features), 5.2.4 (configuration), 5.2.6 (requests).
constexpr std::uint64_t kSizeMax = 1ull << 1, kSegMax = 1ull << 2, kReadOnly = 1ull << 5, kBlkSize = 1ull << 6,
                        kFlush = 1ull << 9, kDiscard = 1ull << 13, kWriteZeroes = 1ull << 14;
constexpr std::uint32_t kTypeIn = 0, kTypeOut = 1, kTypeFlush = 4, kTypeGetId = 8, kTypeDiscard = 11,
                        kTypeWriteZeroes = 13;
constexpr std::uint8_t kOk = 0, kIoError = 1, kUnsupported = 2;
constexpr std::uint64_t kSector = 512;
constexpr std::size_t kIdBytes = 20;
constexpr std::uint32_t kSegmentsMax = kQueueSizeMax - 2;  // a chain holds a header and a status byte too
// So that no request of a driver that heeds it is too large.
constexpr std::uint32_t kSegmentBytesMax = limits::kBlockSegmentBytesMax;
static_assert(std::uint64_t{kSegmentsMax} * kSegmentBytesMax <= limits::kBlockRequestBytesMax);
// What a flush or a short discard, whose time nobody knows, counts against a turn.
constexpr std::uint64_t kTurnShare = limits::kBlockTurnBytes / 16;
// A discarded byte against one that is moved: a file system frees extents, not bytes, but there may be many.
constexpr std::uint64_t kDiscardDiscount = 16;
constexpr std::uint32_t kDiscardSectorsMax = limits::kBlockDiscardBytesMax / kSector;
constexpr std::uint32_t kDiscardSegmentsMax = limits::kBlockDiscardRangesMax;
// Fewer than of discards: where the file system can make no holes, they are written.
constexpr std::uint32_t kZeroesSectorsMax = limits::kBlockRequestBytesMax / kSector;
constexpr std::uint32_t kZeroesSegmentsMax = 1;
constexpr std::uint32_t kUnmap = 1;  // flag of a range to be zeroed: its space may go

struct [[gnu::packed]] Config {
  std::uint64_t capacity = 0;  // sectors
  std::uint32_t size_max = kSegmentBytesMax;
  std::uint32_t seg_max = kSegmentsMax;
  std::array<std::uint8_t, 4> geometry{};
  std::uint32_t blk_size = 512;
  std::array<std::uint8_t, 12> topology_writeback_queues{};
  std::uint32_t max_discard_sectors = kDiscardSectorsMax;
  std::uint32_t max_discard_seg = kDiscardSegmentsMax;
  std::uint32_t discard_sector_alignment = 8;
  std::uint32_t max_write_zeroes_sectors = kZeroesSectorsMax;
  std::uint32_t max_write_zeroes_seg = kZeroesSegmentsMax;
  std::uint8_t write_zeroes_may_unmap = 1;
  std::array<std::uint8_t, 3> unused{};
};
static_assert(sizeof(Config) == 60);

struct RangeSegment {
  std::uint64_t sector;
  std::uint32_t sectors;
  std::uint32_t flags;
};
static_assert(sizeof(RangeSegment) == 16);

bool within(std::uint64_t sector, std::uint64_t bytes, std::uint64_t disk_bytes) {
  std::uint64_t start = 0;
  if (__builtin_mul_overflow(sector, kSector, &start)) return false;
  return start <= disk_bytes && bytes <= disk_bytes - start;
}

}  // namespace

std::uint64_t Block::features() const {
  return kSizeMax | kSegMax | kBlkSize | kFlush | (disk_.read_only() ? kReadOnly : kDiscard | kWriteZeroes);
}

void Block::read_config(std::uint32_t offset, std::span<std::byte> out) const {
  Config config;
  config.capacity = disk_.bytes() / kSector;
  copy_config(config, offset, out);
}

base::Status Block::activate(Activation activation) {
  active_ = std::move(activation);
  return {};
}

base::Status Block::kick(std::size_t queue) {
  return take_turn(*active_, queue, limits::kBlockTurnBytes, [this](const Chain& chain) -> base::Result<Served> {
    cost_ = 0;
    SANDFORGE_TRY(const std::uint32_t written, serve(chain));
    return Served{written, cost_};
  });
}

base::Result<std::uint32_t> Block::serve(const Chain& chain) {
  const GuestMemory& memory = *active_->memory;
  const std::uint64_t writable = chain.writable_bytes();
  Header header{};
  static_assert(sizeof(Header) == 16);
  if (writable == 0 || !gather(memory, chain.readable, std::as_writable_bytes(std::span(&header, 1)))) {
    return base::make_error(base::Code::Corrupt, "bad_request", "virtio-blk: a request without header or status byte");
  }
  std::uint8_t status = kUnsupported;
  std::uint64_t filled = 0;
  switch (header.type) {
    case kTypeIn:
      status = transfer(header, io_ranges(memory, chain.writable, 0, 1), writable - 1);
      filled = status == kOk ? writable - 1 : 0;
      break;
    case kTypeOut:
      status =
          transfer(header, io_ranges(memory, chain.readable, sizeof header, 0), chain.readable_bytes() - sizeof header);
      break;
    case kTypeFlush:
      charge(kTurnShare);
      status = disk_.read_only() || disk_.flush() ? kOk : kIoError;
      break;
    case kTypeGetId:
      status = identify(chain.writable);
      filled = status == kOk ? kIdBytes : 0;
      break;
    case kTypeDiscard:
    case kTypeWriteZeroes: status = clear(header.type, chain.readable); break;
    default: break;
  }
  // The status is the last writable byte, wherever the driver put it.
  const Buffer& last = *std::find_if(chain.writable.rbegin(), chain.writable.rend(),
                                     [](const Buffer& buffer) { return buffer.length > 0; });
  (void)memory.write_object(last.address + (last.length - 1), status);
  return static_cast<std::uint32_t>(filled + 1);
}

void Block::charge(std::uint64_t bytes) { cost_ += bytes; }

std::uint8_t Block::transfer(const Header& header, std::vector<iovec> parts, std::uint64_t bytes) {
  const bool write = header.type == kTypeOut;
  if (write && disk_.read_only()) return kIoError;
  if (bytes % kSector != 0 || !within(header.sector, bytes, disk_.bytes())) return kIoError;
  if (bytes > limits::kBlockRequestBytesMax) return kIoError;
  charge(bytes);
  const std::uint64_t offset = header.sector * kSector;
  return (write ? disk_.write(offset, std::move(parts)) : disk_.read(offset, std::move(parts))) ? kOk : kIoError;
}

std::uint8_t Block::clear(std::uint32_t type, const std::vector<Buffer>& buffers) {
  if (disk_.read_only()) return type == kTypeDiscard ? kIoError : kUnsupported;
  const bool zero = type == kTypeWriteZeroes;
  std::uint64_t bytes = 0;
  for (const Buffer& buffer : buffers) bytes += buffer.length;
  const std::uint64_t payload = bytes - sizeof(Header);
  if (payload == 0 || payload % sizeof(RangeSegment) != 0 ||
      payload / sizeof(RangeSegment) > (zero ? kZeroesSegmentsMax : kDiscardSegmentsMax)) {
    return kIoError;
  }
  std::array<std::byte, sizeof(Header) + kDiscardSegmentsMax * sizeof(RangeSegment)> copy;
  if (!gather(*active_->memory, buffers, std::span(copy).first(bytes))) return kIoError;
  for (std::uint64_t at = sizeof(Header); at < bytes; at += sizeof(RangeSegment)) {
    RangeSegment segment;
    std::memcpy(&segment, copy.data() + at, sizeof segment);
    const std::uint64_t offset = segment.sector * kSector, length = segment.sectors * kSector;
    // The unmap flag belongs to WRITE_ZEROES; any other is refused (5.2.6.2).
    if ((segment.flags & ~(zero ? kUnmap : 0)) != 0) return kUnsupported;
    if (segment.sectors > (zero ? kZeroesSectorsMax : kDiscardSectorsMax)) return kIoError;
    if (!within(segment.sector, length, disk_.bytes())) return kIoError;
    if (length == 0) continue;
    charge(std::max(zero ? length : length / kDiscardDiscount, kTurnShare));
    if (!zero) disk_.discard(offset, length);
    if (zero && !disk_.zero(offset, length, (segment.flags & kUnmap) != 0)) return kIoError;
  }
  return kOk;
}

std::uint8_t Block::identify(const std::vector<Buffer>& buffers) {
  std::array<std::byte, kIdBytes> id{};
  std::memcpy(id.data(), serial_.data(), std::min(serial_.size(), id.size()));
  std::uint64_t total = 0;
  for (const Buffer& buffer : buffers) total += buffer.length;
  if (total < kIdBytes + 1 || !scatter(*active_->memory, buffers, id)) return kIoError;
  return kOk;
}

}  // namespace sandforge::vmm
