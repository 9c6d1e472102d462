// SPDX-License-Identifier: Apache-2.0
// virtio-balloon (virtio 1.2, section 5.5): memory that the guest does not use goes back to the host.
//
//   queues    0: inflate, 1: deflate, 2: free page reports (only with REPORTING)     type 5
//   features  DEFLATE_ON_OOM, REPORTING
//   config    num_pages (what the host wants), actual (what the guest says it gave)
//
// What "gives back" means: the guest's next look at such a page shows what memory held before the guest started: zeros,
// or the bytes of kernel and initrd where these are mapped (copy-on-write, GuestRam::place_file). Both are this guest's
// own from its first instruction on, so nothing leaks; a driver must not rely on either (5.5.6.7).
#pragma once

#include <optional>
#include <vector>

#include "vmm/virtio/device.hpp"

namespace sandforge::vmm {

class Balloon final : public Device {
 public:
  DeviceType type() const override { return DeviceType::Balloon; }
  std::uint64_t features() const override;
  std::size_t queue_count() const override { return 3; }
  // One request at a time; one of reporting has up to 32 ranges.
  std::uint16_t queue_size_max(std::size_t) const override { return 64; }
  std::size_t queues_needed(std::uint64_t features) const override;
  void read_config(std::uint32_t offset, std::span<std::byte> out) const override;
  void write_config(std::uint32_t offset, std::span<const std::byte> in) override;
  base::Status activate(Activation activation) override;
  base::Status kick(std::size_t queue) override;
  void reset() override;

  // How many pages of 4 KiB the guest shall give up. Its driver takes them out of what is free, without haste.
  void set_target(std::uint32_t pages);
  // How many it says it gave: its word, for statistics only.
  std::uint32_t actual() const noexcept { return actual_; }
  // Bytes that went back to the host since the start.
  std::uint64_t released_bytes() const noexcept { return released_; }

 private:
  // Each serves one request and tells how many bytes of the guest's memory it was about.
  base::Result<std::uint64_t> take_numbers(const Chain& chain, bool inflate);
  base::Result<std::uint64_t> take_report(const Chain& chain);
  base::Status release(GuestAddress start, std::uint64_t bytes);

  std::optional<Activation> active_;
  std::uint32_t target_ = 0, actual_ = 0;
  std::uint64_t released_ = 0;
};

}  // namespace sandforge::vmm
