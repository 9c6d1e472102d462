// SPDX-License-Identifier: Apache-2.0
#include "vmm/devices/rng.hpp"

#include <sys/random.h>

#include <algorithm>

#include "base/limits.hpp"
#include "vmm/devices/transfer.hpp"
#include "vmm/devices/turn.hpp"

namespace sandforge::vmm {

base::Status Rng::activate(Activation activation) {
  active_ = std::move(activation);
  return {};
}

base::Status Rng::kick(std::size_t queue) {
  return take_turn(*active_, queue, limits::kRngTurnBytes, [this](const Chain& chain) -> base::Result<Served> {
    SANDFORGE_TRY(const std::uint32_t written, serve(chain));
    return Served{written, written};
  });
}

base::Result<std::uint32_t> Rng::serve(const Chain& chain) {
  // SPEC: 5.4.6.1, only buffers that the device writes; 5.4.6.2, at least one byte for each request.
  if (!chain.readable.empty() || chain.writable_bytes() == 0) {
    return base::make_error(base::Code::Corrupt, "bad_request", "virtio-rng: a request that can hold no random byte");
  }
  std::uint32_t written = 0;
  for (const iovec& range : io_ranges(*active_->memory, chain.writable, 0, 0)) {
    std::size_t part = std::min<std::size_t>(range.iov_len, limits::kRngRequestBytes - written);
    auto* at = static_cast<std::byte*>(range.iov_base);
    while (part > 0) {
      const ssize_t n = ::getrandom(at, part, 0);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return base::os_error("ask the host for random bytes");
      at += n;
      part -= static_cast<std::size_t>(n);
      written += static_cast<std::uint32_t>(n);
    }
    if (written == limits::kRngRequestBytes) break;
  }
  return written;
}

}  // namespace sandforge::vmm
