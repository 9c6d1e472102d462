// SPDX-License-Identifier: Apache-2.0
// Fuzz target: a disk of layers, against a plain piece of memory. The input is first the header of a map, which must be
// taken only if it is the right one, then a script of reads, writes, zeroes, discards and reopenings.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "vmm/storage/disk.hpp"
#include "vmm/storage/disk_model.hpp"

namespace {

using namespace sandforge;
using vmm::kDiskBlock;

constexpr std::uint64_t kBytes = 11 * kDiskBlock + 1024;  // the last block is a short one
constexpr std::uint64_t kSectors = kBytes / 512;

void check(bool right) {
  if (!right) std::abort();
}
void check(const base::Status& status) { check(static_cast<bool>(status)); }

base::UniqueFd file(std::uint64_t bytes, const std::string& content = {}) {
  base::UniqueFd fd(::memfd_create("layer", MFD_CLOEXEC));
  check(fd && ::ftruncate(fd.get(), static_cast<off_t>(bytes)) == 0);
  check(::pwrite(fd.get(), content.data(), content.size(), 0) == static_cast<ssize_t>(content.size()));
  return fd;
}

base::UniqueFd reopen(const base::UniqueFd& fd, int flags) {
  return base::UniqueFd(::open(("/proc/self/fd/" + std::to_string(fd.get())).c_str(), flags | O_CLOEXEC));
}

struct Files {
  base::UniqueFd top = file(kBytes), map = file(vmm::BlockMap::file_bytes(kBytes), vmm::BlockMap::header(kBytes)),
                 bottom = file(kBytes, std::string(kBytes, 'b'));
  base::Result<vmm::Disk> open() const {
    std::vector<vmm::DiskLayer> layers;
    layers.push_back({reopen(top, O_RDWR), reopen(map, O_RDWR)});
    layers.push_back({reopen(bottom, O_RDONLY), {}});
    return vmm::Disk::open(std::move(layers), kBytes, false);
  }
};

void play(vmm::Disk& disk, std::string& model, const std::uint8_t* step) {
  const std::uint64_t offset = step[1] % kSectors * 512;
  const std::uint64_t bytes = std::min<std::uint64_t>((1u + step[2] % 32u) * 512, kBytes - offset);
  const char fill = static_cast<char>(step[3]);
  switch (step[0] % 5) {
    case 0: {
      std::string content(bytes, fill);
      const std::uint64_t cut = step[3] * std::uint64_t{7} % bytes;
      check(disk.write(offset, {{content.data(), cut}, {content.data() + cut, bytes - cut}}));
      vmm::test::fill(model, offset, bytes, fill);
      break;
    }
    case 1:
      check(disk.zero(offset, bytes, fill % 2 == 0));
      vmm::test::fill(model, offset, bytes, '\0');
      break;
    case 2:
      disk.discard(offset, bytes);
      vmm::test::discard(model, offset, bytes);
      break;
    case 3: check(disk.flush()); break;
    default: break;
  }
  std::string now(bytes, '?');
  check(disk.read(offset, {{now.data(), bytes}}));
  check(model.compare(offset, bytes, now) == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string header = vmm::BlockMap::header(kBytes);
  if (size < header.size()) return 0;
  const Files files;
  check(::pwrite(files.map.get(), data, header.size(), 0) == static_cast<ssize_t>(header.size()));
  const bool right = std::memcmp(data, header.data(), header.size()) == 0;
  check(static_cast<bool>(files.open()) == right);
  check(::pwrite(files.map.get(), header.data(), header.size(), 0) == static_cast<ssize_t>(header.size()));
  std::string model(kBytes, 'b');
  constexpr std::size_t kStep = 4, kLife = 64;  // bytes of a step; of the steps between two openings
  for (std::size_t at = header.size(); at + kStep <= size;) {
    auto disk = files.open();
    check(static_cast<bool>(disk));
    for (const std::size_t end = at + kLife; at < end && at + kStep <= size; at += kStep) {
      play(disk.value(), model, data + at);
    }
  }
  auto disk = files.open();
  std::string now(kBytes, '?');
  check(disk && disk.value().read(0, {{now.data(), kBytes}}) && now == model);
  return 0;
}
