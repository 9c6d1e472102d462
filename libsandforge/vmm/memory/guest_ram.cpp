// SPDX-License-Identifier: Apache-2.0
#include "vmm/memory/guest_ram.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>

namespace sandforge::vmm {
namespace {

constexpr std::uint64_t kHugePage = 2ull << 20;
constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE, which older headers lack

std::vector<MemoryRegion> pieces(std::byte* host, std::uint64_t bytes) {
  const std::uint64_t low = std::min(bytes, kDeviceHoleStart);
  std::vector<MemoryRegion> regions{{GuestAddress{0}, low, host}};
  if (bytes > low) regions.push_back({GuestAddress{kDeviceHoleEnd}, bytes - low, host + low});
  return regions;
}

base::Error not_ram(const char* what) {
  return base::make_error(base::Code::InvalidArgument, "memory_too_small",
                          std::string("the guest's memory does not hold ") + what, "give the sandbox more memory");
}

}  // namespace

GuestRam::GuestRam(std::byte* mapping, std::uint64_t mapped, std::byte* ram, std::uint64_t bytes)
    : mapping_(mapping), mapped_(mapped), memory_(pieces(ram, bytes)) {}

GuestRam::GuestRam(GuestRam&& other) noexcept
    : mapping_(std::exchange(other.mapping_, nullptr)), mapped_(other.mapped_), memory_(other.memory_) {}

GuestRam::~GuestRam() {
  if (mapping_ != nullptr) ::munmap(mapping_, mapped_);
}

base::Result<GuestRam> GuestRam::create(std::uint64_t bytes) {
  if (bytes == 0 || bytes % kPage != 0 || bytes > UINT64_MAX / 2) {
    return base::make_error(base::Code::InvalidArgument, {}, "guest memory must be a multiple of a page");
  }
  // Room to begin on a border of huge pages: the host then backs the guest with them where it is allowed to.
  const std::uint64_t mapped = bytes + kHugePage + kPage;
  // Not reserved: the engine decides about overcommitment, and a guest rarely touches all it has.
  void* at = ::mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return base::os_error("reserve the guest's memory");
  auto* mapping = static_cast<std::byte*>(at);
  const std::uint64_t past = reinterpret_cast<std::uintptr_t>(mapping) % kHugePage;
  std::byte* start = mapping + (kHugePage - past);  // at least one page in: mappings are page-aligned
  GuestRam ram(mapping, mapped, start, bytes);
  if (::mprotect(start, bytes, PROT_READ | PROT_WRITE) != 0) return base::os_error("open the guest's memory");
  (void)::madvise(start, bytes, MADV_HUGEPAGE);
  // Not for children (there are none) and not in a core file.
  (void)::madvise(mapping, mapped, MADV_DONTFORK);
  (void)::madvise(mapping, mapped, MADV_DONTDUMP);
  return ram;
}

base::Status GuestRam::place_file(GuestAddress address, int fd, std::uint64_t offset, std::uint64_t bytes,
                                  const char* what) {
  iovec range{};
  if (!memory_.io_range(address, bytes, range)) return not_ram(what);
  std::uint64_t mapped = 0;
  if (address.value % kPage == 0 && offset % kPage == 0) {
    // Whole pages only: what follows the file's last byte in its page is not zero-filled by anyone but us.
    mapped = bytes / kPage * kPage;
    // SAFETY: replaces pages of our own mapping, which was checked to hold the whole range.
    if (mapped > 0 && ::mmap(range.iov_base, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE,
                             fd, static_cast<off_t>(offset)) == MAP_FAILED) {
      return base::os_error("map a file into the guest's memory");
    }
  }
  while (mapped < bytes) {
    if (!memory_.io_range(address + mapped, bytes - mapped, range)) return not_ram(what);
    const ssize_t n = ::pread(fd, range.iov_base, range.iov_len, static_cast<off_t>(offset + mapped));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::os_error("read a file into the guest's memory");
    if (n == 0)
      return base::make_error(base::Code::Corrupt, "truncated",
                              std::string("the file of ") + what + " is shorter than it was", "build the image again");
    mapped += static_cast<std::uint64_t>(n);
  }
  return {};
}

void GuestRam::make_private(GuestAddress address, std::uint64_t bytes) {
  const std::uint64_t start = (address.value + kPage - 1) / kPage * kPage,
                      end = (address.value + bytes) / kPage * kPage;
  iovec range{};
  if (start >= end || !memory_.io_range(GuestAddress{start}, end - start, range)) return;
  // In steps: each holds the lock of the address space, which a starting vCPU thread needs for its allocator.
  constexpr std::size_t kStep = 256 * 1024;
  for (std::size_t at = 0; at < range.iov_len; at += kStep) {
    std::byte* from = static_cast<std::byte*>(range.iov_base) + at;
    if (::madvise(from, std::min(kStep, range.iov_len - at), kPopulateWrite) != 0) return;
  }
}

}  // namespace sandforge::vmm
