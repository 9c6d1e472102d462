// SPDX-License-Identifier: Apache-2.0
#include "vmm/devices/balloon.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "base/limits.hpp"
#include "vmm/devices/config_space.hpp"
#include "vmm/devices/transfer.hpp"
#include "vmm/devices/turn.hpp"
#include "vmm/memory/guest_ram.hpp"

namespace sandforge::vmm {
namespace {

// SPEC: virtio 1.2, 5.5.2 (queues), 5.5.3 (features), 5.5.4 (configuration).
constexpr std::uint64_t kDeflateOnOom = 1ull << 2, kReporting = 1ull << 5;
constexpr std::size_t kInflate = 0, kReports = 2;
static_assert(kPage == 4096);  // what a page number counts, whatever the guest's pages are

struct Config {
  std::uint32_t num_pages = 0;
  std::uint32_t actual = 0;
};

base::Error broken(const char* what) {
  return base::make_error(base::Code::Corrupt, "bad_request", std::string("virtio-balloon: ") + what);
}

}  // namespace

std::uint64_t Balloon::features() const { return kDeflateOnOom | kReporting; }

// The queue of reports exists with its feature only (5.5.2).
std::size_t Balloon::queues_needed(std::uint64_t features) const { return (features & kReporting) != 0 ? 3 : 2; }

void Balloon::read_config(std::uint32_t offset, std::span<std::byte> out) const {
  copy_config(Config{target_, actual_}, offset, out);
}

void Balloon::write_config(std::uint32_t offset, std::span<const std::byte> in) {
  if (offset == offsetof(Config, actual) && in.size() == sizeof actual_) std::memcpy(&actual_, in.data(), in.size());
}

base::Status Balloon::activate(Activation activation) {
  active_ = std::move(activation);
  return {};
}

void Balloon::reset() {
  active_.reset();
  actual_ = 0;  // a driver that starts anew has given nothing
}

void Balloon::set_target(std::uint32_t pages) {
  if (pages == target_) return;
  target_ = pages;
  if (active_) active_->interrupt->config_changed();
}

base::Status Balloon::kick(std::size_t queue) {
  if (queue >= active_->queues.size()) return {};  // one that was not negotiated
  return take_turn(*active_, queue, limits::kBalloonTurnBytes,
                   [this, queue](const Chain& chain) -> base::Result<Served> {
                     SANDFORGE_TRY(const std::uint64_t about,
                                   queue == kReports ? take_report(chain) : take_numbers(chain, queue == kInflate));
                     return Served{0, about};
                   });
}

// SPEC: 5.5.6: an array of 32-bit page numbers. All are checked before anything is released.
base::Result<std::uint64_t> Balloon::take_numbers(const Chain& chain, bool inflate) {
  const std::uint64_t size = chain.readable_bytes();
  if (!chain.writable.empty() || size == 0 || size % sizeof(std::uint32_t) != 0) return broken("no list of pages");
  if (size / sizeof(std::uint32_t) > limits::kBalloonPagesMax) return broken("too many pages at once");
  std::vector<std::uint32_t> numbers(size / sizeof(std::uint32_t));
  if (!gather(*active_->memory, chain.readable, std::as_writable_bytes(std::span(numbers)))) {
    return broken("an unreadable list of pages");
  }
  for (const std::uint32_t number : numbers) {
    if (!active_->memory->contains(GuestAddress{number * kPage}, kPage)) return broken("a page outside guest memory");
  }
  if (inflate) {
    // Neighbours go together: drivers give pages in runs, in either direction.
    std::sort(numbers.begin(), numbers.end());
    for (std::size_t first = 0, next = 1; first < numbers.size(); first = next++) {
      while (next < numbers.size() && numbers[next] - numbers[next - 1] <= 1) ++next;
      const std::uint64_t run = numbers[next - 1] - numbers[first] + 1ull;
      SANDFORGE_TRY_STATUS(release(GuestAddress{numbers[first] * kPage}, run * kPage));
    }
  }
  return numbers.size() * kPage;
}

// SPEC: 5.5.6.7: the buffers themselves are the free memory; they are not written.
base::Result<std::uint64_t> Balloon::take_report(const Chain& chain) {
  if (!chain.readable.empty() || chain.writable_bytes() == 0) return broken("a report of no free memory");
  for (const Buffer& buffer : chain.writable) {
    // Whole pages only: the rest of a page is in use.
    const std::uint64_t start = (buffer.address.value + kPage - 1) / kPage * kPage;
    const std::uint64_t end = (buffer.address.value + buffer.length) / kPage * kPage;
    if (start < end) SANDFORGE_TRY_STATUS(release(GuestAddress{start}, end - start));
  }
  return chain.writable_bytes();
}

base::Status Balloon::release(GuestAddress start, std::uint64_t bytes) {
  iovec range{};
  // The whole range, in one region: two neighbours in the list need not be neighbours of the host.
  if (!active_->memory->io_range(start, bytes, range)) return broken("a range outside guest memory");
  // SAFETY: whole pages of the guest's own mapping, which is private to this process.
  if (::madvise(range.iov_base, range.iov_len, MADV_DONTNEED) != 0) return base::os_error("give memory back");
  released_ += bytes;
  return {};
}

}  // namespace sandforge::vmm
