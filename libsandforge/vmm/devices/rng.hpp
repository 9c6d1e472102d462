// SPDX-License-Identifier: Apache-2.0
// virtio-rng (virtio 1.2, section 5.4): bytes of the host's own generator, straight into the guest's buffers.
//
//   queues    0: requests            type 4
//   features  none
//   config    none
#pragma once

#include <optional>

#include "vmm/virtio/device.hpp"

namespace sandforge::vmm {

class Rng final : public Device {
 public:
  DeviceType type() const override { return DeviceType::Rng; }
  std::uint64_t features() const override { return 0; }
  std::size_t queue_count() const override { return 1; }
  // A driver asks for one buffer of bytes at a time; more than that is room for others.
  std::uint16_t queue_size_max(std::size_t) const override { return 64; }
  void read_config(std::uint32_t, std::span<std::byte>) const override {}
  void write_config(std::uint32_t, std::span<const std::byte>) override {}
  base::Status activate(Activation activation) override;
  base::Status kick(std::size_t queue) override;
  void reset() override { active_.reset(); }

 private:
  // How many bytes were written, at least one.
  base::Result<std::uint32_t> serve(const Chain& chain);

  std::optional<Activation> active_;
};

}  // namespace sandforge::vmm
