// SPDX-License-Identifier: Apache-2.0
// Fuzz target: virtio-blk. Requests of any shape are held against a model of the disk; between them the driver does
// what drivers must not. A read-only disk never changes.
#include <sys/mman.h>
#include <unistd.h>

#include "device_script.hpp"
#include "vmm/devices/block.hpp"

namespace {

using namespace sandforge;
using namespace sandforge::vmm;
using namespace sandforge::vmm::test;

constexpr std::size_t kDisk = 64 * 1024, kSector = 512;
constexpr std::uint32_t kIn = 0, kOut = 1, kFlush = 4, kGetId = 8, kDiscard = 11;
constexpr int kOk = 0, kIoError = 1, kUnsupported = 2;
constexpr std::uint64_t kReadableAt = FakeDriver::kBuffers, kWritableAt = FakeDriver::kBuffers + 0x20000;

std::string content_of(int file) {
  std::string out(kDisk, '\0');
  must(::pread(file, out.data(), out.size(), 0) == static_cast<ssize_t>(out.size()));
  return out;
}

struct Request {
  std::uint32_t type = 0;
  std::uint64_t sector = 0;
  std::string data;        // to the device, behind the header
  std::uint32_t room = 0;  // from the device, before the status byte
};

Request request_of(ScriptReader& in) {
  Request request;
  const std::uint32_t kinds[] = {kIn, kOut, kOut, kFlush, kGetId, kDiscard, in.take<std::uint32_t>()};
  request.type = kinds[in.below(7)];
  const std::uint32_t where = in.below(8);
  request.sector = where < 6 ? in.below(140) : where == 6 ? in.take<std::uint64_t>() : (1ull << 55) + in.below(140);
  request.data.assign(in.below(4) * kSector + (in.below(8) == 7 ? in.below(255) : 0), static_cast<char>(in.below(256)));
  request.room = in.below(8) * static_cast<std::uint32_t>(kSector) + (in.below(8) == 7 ? in.below(255) : 0);
  if (request.type == kDiscard) {
    request.data.clear();
    for (std::uint32_t i = in.below(4); i > 0; --i) {
      const std::uint64_t sector = in.below(140);
      const std::uint32_t rest[2] = {in.below(20), in.below(16) == 15 ? 1u : 0u};
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
int expected(const Request& request, bool read_only, std::string& disk) {
  switch (request.type) {
    case kIn: return fits(request.sector, request.room) ? kOk : kIoError;
    case kOut:
      if (read_only || !fits(request.sector, request.data.size())) return kIoError;
      disk.replace(request.sector * kSector, request.data.size(), request.data);
      return kOk;
    case kFlush: return kOk;
    case kGetId: return request.room >= 20 ? kOk : kIoError;
    case kDiscard: break;
    default: return kUnsupported;
  }
  if (read_only || request.data.empty()) return kIoError;
  for (std::size_t at = 0; at < request.data.size(); at += 16) {
    std::uint64_t sector = 0;
    std::uint32_t rest[2];
    std::memcpy(&sector, request.data.data() + at, 8);
    std::memcpy(rest, request.data.data() + at + 8, 8);
    if (rest[1] != 0) return kUnsupported;
    if (!fits(sector, rest[0] * kSector)) return kIoError;
    disk.replace(sector * kSector, rest[0] * kSector, rest[0] * kSector, '\0');
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

void serve(ScriptedDevice& scripted, int file, bool read_only, ScriptReader& in) {
  FakeDriver& driver = scripted.driver;
  const Request request = request_of(in);
  must(driver.start(scripted.transport));
  std::string model = content_of(file);
  const std::string before = model;
  const int status = expected(request, read_only, model);

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
  must(content_of(file) == model);
  if (request.type == kIn && got == kOk) {
    std::string data(request.room, '\0');
    must(driver.memory().read(GuestAddress{kWritableAt}, std::as_writable_bytes(std::span(data))));
    must(data == before.substr(request.sector * kSector, request.room));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ScriptReader in(data, size);
  const bool read_only = in.below(2) != 0;
  BlockOptions options;
  options.file.reset(::memfd_create("disk", MFD_CLOEXEC));
  options.bytes = kDisk;
  options.read_only = read_only;
  options.serial = "fuzz";
  const int file = options.file.get();
  must(::ftruncate(file, kDisk) == 0);
  ScriptedDevice scripted(std::make_unique<Block>(std::move(options)));
  while (!in.done()) {
    const std::uint32_t what = in.below(16);
    if (what < ScriptedDevice::kSteps) {
      scripted.step(what, in);
    } else if (what == 8) {  // the file is cut under it, and restored: nothing breaks
      must(::ftruncate(file, in.take<std::uint16_t>()) == 0);
      scripted.step(6, in);
      must(::ftruncate(file, kDisk) == 0);
    } else {
      serve(scripted, file, read_only, in);
    }
  }
  if (read_only) must(content_of(file) == std::string(kDisk, '\0'));
  scripted.come_back();
  return 0;
}
