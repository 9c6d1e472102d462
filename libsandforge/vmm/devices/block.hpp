// SPDX-License-Identifier: Apache-2.0
// virtio-blk (virtio 1.2, section 5.2) over a disk (storage/disk.hpp). Read-only is a property of the descriptor and of
// the device; a write to a read-only disk is an I/O error, whatever the driver negotiated.
//
//   queues    0: requests            type 2
//   features  SIZE_MAX, SEG_MAX, BLK_SIZE, FLUSH; RO for a read-only disk, DISCARD and WRITE_ZEROES for a
//             writable one
//   config    capacity, size_max, seg_max, blk_size, the limits of discard and write zeroes
#pragma once

#include <optional>
#include <string>

#include "vmm/storage/disk.hpp"
#include "vmm/virtio/device.hpp"

namespace sandforge::vmm {

class Block final : public Device {
 public:
  // `serial`: what GET_ID answers, at most 20 bytes of it.
  Block(Disk disk, std::string serial) : disk_(std::move(disk)), serial_(std::move(serial)) {}

  DeviceType type() const override { return DeviceType::Block; }
  std::uint64_t features() const override;
  std::size_t queue_count() const override { return 1; }
  std::uint16_t queue_size_max(std::size_t) const override { return kQueueSizeMax; }
  void read_config(std::uint32_t offset, std::span<std::byte> out) const override;
  void write_config(std::uint32_t, std::span<const std::byte>) override {}
  base::Status activate(Activation activation) override;
  base::Status kick(std::size_t queue) override;
  void reset() override { active_.reset(); }

 private:
  struct Header {
    std::uint32_t type;
    std::uint32_t reserved;
    std::uint64_t sector;
  };

  // One request: status byte and how many bytes were written to the guest, the status byte included.
  base::Result<std::uint32_t> serve(const Chain& chain);
  std::uint8_t transfer(const Header& header, std::vector<iovec> parts, std::uint64_t bytes);
  // Discard and write zeroes: a list of ranges.
  std::uint8_t clear(std::uint32_t type, const std::vector<Buffer>& buffers);
  std::uint8_t identify(const std::vector<Buffer>& buffers);
  void charge(std::uint64_t bytes);

  Disk disk_;
  std::string serial_;
  std::optional<Activation> active_;
  std::uint64_t cost_ = 0;  // of the request that is being served, as kBlockTurnBytes counts it
};

}  // namespace sandforge::vmm
