// SPDX-License-Identifier: Apache-2.0
// Fuzz target: virtio-blk. Requests of any shape are held against a model of the disk; between them the driver does
// what drivers must not. The disk is one file or has layers; a read-only disk never changes, nor does a lower layer.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device_script.hpp"
#include "vmm/devices/block.hpp"

namespace {

using namespace sandforge;
using namespace sandforge::vmm;
using namespace sandforge::vmm::test;

constexpr std::size_t kDisk = 64 * 1024, kSector = 512;
constexpr std::uint32_t kIn = 0, kOut = 1, kFlush = 4, kGetId = 8, kDiscard = 11, kWriteZeroes = 13;
constexpr int kOk = 0, kIoError = 1, kUnsupported = 2;
constexpr std::uint64_t kReadableAt = FakeDriver::kBuffers, kWritableAt = FakeDriver::kBuffers + 0x20000;

base::UniqueFd make_file(std::size_t bytes, const std::string& content) {
  base::UniqueFd file(::memfd_create("disk", MFD_CLOEXEC));
  must(::ftruncate(file.get(), static_cast<off_t>(bytes)) == 0);
  must(::pwrite(file.get(), content.data(), content.size(), 0) == static_cast<ssize_t>(content.size()));
  return file;
}
base::UniqueFd reopen(const base::UniqueFd& file, int flags) {
  return base::UniqueFd(::open(("/proc/self/fd/" + std::to_string(file.get())).c_str(), flags | O_CLOEXEC));
}
std::string read_file(const base::UniqueFd& file, std::size_t bytes) {
  std::string out(bytes, '\0');
  must(::pread(file.get(), out.data(), out.size(), 0) == static_cast<ssize_t>(out.size()));
  return out;
}

// The files of a disk, looked at from outside.
struct Files {
  bool read_only = false, layered = false;
  base::UniqueFd top, map, bottom;

  Files(bool no_writes, bool layers) : read_only(no_writes), layered(layers && !no_writes) {
    top = make_file(kDisk, {});
    if (!layered) return;
    map = make_file(BlockMap::file_bytes(kDisk), BlockMap::header(kDisk));
    bottom = make_file(kDisk, std::string(kDisk, 'b'));
  }
  std::unique_ptr<Device> device() const {
    std::vector<DiskLayer> layers;
    layers.push_back({reopen(top, read_only ? O_RDONLY : O_RDWR), layered ? reopen(map, O_RDWR) : base::UniqueFd()});
    if (layered) layers.push_back({reopen(bottom, O_RDONLY), {}});
    auto disk = Disk::open(std::move(layers), kDisk, read_only);
    must(static_cast<bool>(disk));
    return std::make_unique<Block>(std::move(disk).value(), "fuzz");
  }
  std::string content() const {
    std::string out = read_file(top, kDisk);
    if (!layered) return out;
    const std::string held = read_file(map, BlockMap::file_bytes(kDisk)).substr(kDiskBlock);
    for (std::size_t block = 0; block < kDisk / kDiskBlock; ++block) {
      const bool here = (static_cast<unsigned char>(held[block / 8]) >> (block % 8) & 1) != 0;
      if (!here) out.replace(block * kDiskBlock, kDiskBlock, kDiskBlock, 'b');
    }
    return out;
  }
  void check_untouched() const {
    if (read_only) must(read_file(top, kDisk) == std::string(kDisk, '\0'));
    if (layered) must(read_file(bottom, kDisk) == std::string(kDisk, 'b'));
  }
};

struct Request {
  std::uint32_t type = 0;
  std::uint64_t sector = 0;
  std::string data;        // to the device, behind the header
  std::uint32_t room = 0;  // from the device, before the status byte
};

Request request_of(ScriptReader& in) {
  Request request;
  const std::uint32_t kinds[] = {kIn, kOut, kOut, kFlush, kGetId, kDiscard, kWriteZeroes, in.take<std::uint32_t>()};
  request.type = kinds[in.below(8)];
  const std::uint32_t where = in.below(8);
  request.sector = where < 6 ? in.below(140) : where == 6 ? in.take<std::uint64_t>() : (1ull << 55) + in.below(140);
  request.data.assign(in.below(4) * kSector + (in.below(8) == 7 ? in.below(255) : 0), static_cast<char>(in.below(256)));
  request.room = in.below(8) * static_cast<std::uint32_t>(kSector) + (in.below(8) == 7 ? in.below(255) : 0);
  if (request.type == kDiscard || request.type == kWriteZeroes) {
    request.data.clear();
    for (std::uint32_t i = in.below(4); i > 0; --i) {
      const std::uint64_t sector = in.below(140);
      const std::uint32_t rest[2] = {in.below(20), in.below(16) < 12 ? 0u : in.below(4)};
      request.data.append(reinterpret_cast<const char*>(&sector), sizeof sector);  // SAFETY: bytes of integers
      request.data.append(reinterpret_cast<const char*>(rest), sizeof rest);
    }
  }
  return request;
}

bool fits(std::uint64_t sector, std::uint64_t bytes) {
  return sector <= kDisk / kSector && bytes <= kDisk - sector * kSector && bytes % kSector == 0;
}

// What the request gives, and what it makes of the disk.
int expected(const Request& request, const Files& files, std::string& disk) {
  switch (request.type) {
    case kIn: return fits(request.sector, request.room) ? kOk : kIoError;
    case kOut:
      if (files.read_only || !fits(request.sector, request.data.size())) return kIoError;
      disk.replace(request.sector * kSector, request.data.size(), request.data);
      return kOk;
    case kFlush: return kOk;
    case kGetId: return request.room >= 20 ? kOk : kIoError;
    case kDiscard:
    case kWriteZeroes: break;
    default: return kUnsupported;
  }
  const bool zero = request.type == kWriteZeroes;
  if (files.read_only) return zero ? kUnsupported : kIoError;
  if (request.data.empty() || (zero && request.data.size() > 16)) return kIoError;
  for (std::size_t at = 0; at < request.data.size(); at += 16) {
    std::uint64_t sector = 0;
    std::uint32_t rest[2];
    std::memcpy(&sector, request.data.data() + at, 8);
    std::memcpy(rest, request.data.data() + at + 8, 8);
    if ((rest[1] & ~(zero ? 1u : 0u)) != 0) return kUnsupported;
    if (!fits(sector, rest[0] * kSector)) return kIoError;
    std::size_t start = sector * kSector, end = start + rest[0] * kSector;
    if (files.layered && !zero) {  // whole blocks only
      start = (start + kDiskBlock - 1) / kDiskBlock * kDiskBlock;
      end = end / kDiskBlock * kDiskBlock;
    }
    if (start < end) disk.replace(start, end - start, end - start, '\0');
  }
  return kOk;
}

// Lays `bytes` from `address` on into descriptors, cut as the script says.
void cut(std::vector<RawDescriptor>& out, std::uint64_t address, std::uint64_t bytes, bool writable, ScriptReader& in) {
  const std::size_t room = 31 - (writable ? 0 : 1);
  for (std::size_t first = out.size(); bytes > 0;) {
    const bool last = out.size() - first + 1 >= room / 2 || in.done();
    const std::uint64_t part =
        last ? bytes : std::min<std::uint64_t>(bytes, in.below(8) == 0 ? 0 : 1 + in.take<std::uint16_t>() % 700);
    out.push_back({address, static_cast<std::uint32_t>(part), writable ? kWrite : std::uint16_t{0}, 0});
    address += part;
    bytes -= part;
  }
}

void serve(ScriptedDevice& scripted, const Files& files, ScriptReader& in) {
  FakeDriver& driver = scripted.driver;
  const Request request = request_of(in);
  must(driver.start(scripted.transport));
  std::string model = files.content();
  const std::string before = model;
  const int status = expected(request, files, model);

  const std::uint32_t head[] = {request.type, 0};
  std::string readable(reinterpret_cast<const char*>(head), sizeof head);  // SAFETY: bytes of integers
  readable.append(reinterpret_cast<const char*>(&request.sector), sizeof request.sector);
  readable += request.data;
  (void)driver.memory().write(GuestAddress{kReadableAt}, std::as_bytes(std::span(readable)));
  std::vector<RawDescriptor> chain;
  cut(chain, kReadableAt, readable.size(), false, in);
  cut(chain, kWritableAt, request.room + 1ull, true, in);
  for (std::uint32_t i = 0; i < chain.size(); ++i) {
    if (i + 1 < chain.size()) chain[i].flags |= kNext, chain[i].next = static_cast<std::uint16_t>(i + 1);
    driver.describe_raw(0, i, chain[i]);
  }
  driver.publish(0, 0);
  scripted.kick(0);

  must(!scripted.transport.needs_reset() && driver.used_index(0) == 1);
  const int got = driver.get<std::uint8_t>(GuestAddress{kWritableAt + request.room});
  must(got == status);
  must(files.content() == model);
  if (request.type == kIn && got == kOk) {
    std::string data(request.room, '\0');
    must(driver.memory().read(GuestAddress{kWritableAt}, std::as_writable_bytes(std::span(data))));
    must(data == before.substr(request.sector * kSector, request.room));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ScriptReader in(data, size);
  const std::uint32_t kind = in.below(4);
  const Files files(kind == 0, kind > 1);
  ScriptedDevice scripted(files.device());
  while (!in.done()) {
    const std::uint32_t what = in.below(16);
    if (what < ScriptedDevice::kSteps) {
      scripted.step(what, in);
    } else if (what == 8) {  // the file is cut under it, and restored: nothing breaks
      must(files.read_only || ::ftruncate(files.top.get(), in.take<std::uint16_t>()) == 0);
      scripted.step(6, in);
      must(::ftruncate(files.top.get(), kDisk) == 0);
    } else {
      serve(scripted, files, in);
    }
  }
  files.check_untouched();
  scripted.come_back();
  return 0;
}
