// SPDX-License-Identifier: Apache-2.0
// Violations of virtio-blk: requests, and what the disk's file may do meanwhile.
#include <fcntl.h>
#include <sys/resource.h>

#include <csignal>
#include <cstring>

#include "vmm/violations/block_bench.hpp"
#include "vmm/violations/second_vcpu.hpp"

namespace sandforge::vmm::test {
namespace {

using namespace blk;
using D = RawDescriptor;
constexpr std::uint64_t kAt = FakeDriver::kBuffers;           // a header
constexpr std::uint64_t kData = FakeDriver::kBuffers + 8192;  // what follows it
constexpr std::uint64_t kStatusAt = kData + 0x10000;

// The device's descriptor is another file meanwhile.
class Swapped {
 public:
  Swapped(BlockBench& bench, base::UniqueFd other) : at_(bench.file), real_(::fcntl(bench.file, F_DUPFD_CLOEXEC, 0)) {
    REQUIRE(other);
    REQUIRE(::dup3(other.get(), at_, O_CLOEXEC) == at_);
  }
  Swapped(const Swapped&) = delete;
  ~Swapped() { ::dup3(real_.get(), at_, O_CLOEXEC); }

 private:
  int at_;
  base::UniqueFd real_;
};
base::UniqueFd open_file(const char* path, int flags) { return base::UniqueFd(::open(path, flags | O_CLOEXEC)); }

// A request laid out by hand: header at kAt, then the descriptors as they are.
int raw(BlockBench& bench, std::uint32_t type, std::uint64_t sector, const std::vector<D>& descriptors) {
  bench.driver.put(GuestAddress{kAt}, Header{type, 0, sector});
  bench.driver.put(GuestAddress{kStatusAt}, std::uint8_t{0xee});
  for (std::uint32_t i = 0; i < descriptors.size(); ++i) {
    D descriptor = descriptors[i];
    if (i + 1 < descriptors.size()) descriptor.flags |= kNext, descriptor.next = static_cast<std::uint16_t>(i + 1);
    bench.driver.describe_raw(0, i, descriptor);
  }
  bench.driver.publish(0, 0);
  bench.kick(0);
  return bench.broken() ? kNone : bench.driver.get<std::uint8_t>(GuestAddress{kStatusAt});
}
const D kHeader{kAt, 16, 0, 0}, kStatusByte{kStatusAt, 1, kWrite, 0};

class Adder {
 public:
  explicit Adder(Rows<BlockBench>& rows) : rows_(rows) {}
  void operator()(std::string name, std::function<void(BlockBench&)> run) {
    rows_.push_back({std::move(name), std::move(run)});
  }
  // One request and the status it gets.
  void request(std::string name, int status, std::uint32_t type, std::uint64_t sector, std::size_t readable,
               std::uint32_t writable) {
    (*this)(std::move(name), [=](BlockBench& bench) {
      CHECK(bench.request(type, sector, std::string(readable, 'x'), writable) == status);
      CHECK_FALSE(bench.broken());
      bench.use();  // without a reset
    });
  }

 private:
  Rows<BlockBench>& rows_;
};

void add_ranges(Adder add) {
  struct Place {
    const char* name;
    std::uint64_t sector;
    std::uint32_t bytes;
    int status;
  };
  const Place places[] = {{"of the last sector is served", kSectors - 1, 512, kOk},
                          {"just past the end is an error", kSectors, 512, kIoError},
                          {"across the end is an error", kSectors - 1, 1024, kIoError},
                          {"of eight sectors is served", 1, 8 * 512, kOk},
                          {"far past the end is an error", 1ull << 32, 512, kIoError},
                          {"whose offset wraps to 0 is an error", 1ull << 55, 512, kIoError},
                          {"whose offset wraps to sector 1 is an error", (1ull << 55) + 1, 512, kIoError},
                          {"at an offset of 2^63 is an error", 1ull << 54, 512, kIoError},
                          {"just below an offset of 2^63 is an error", (1ull << 54) - 1, 512, kIoError},
                          {"at sector 2^63 is an error", 1ull << 63, 512, kIoError},
                          {"at the last sector there can be is an error", UINT64_MAX, 512, kIoError},
                          {"whose end wraps is an error", UINT64_MAX / 512, 1024, kIoError},
                          {"of no bytes is served", 0, 0, kOk},
                          {"of no bytes at the end is served", kSectors, 0, kOk},
                          {"of no bytes past the end is an error", kSectors + 1, 0, kIoError},
                          {"of one byte is an error", 0, 1, kIoError},
                          {"of 511 bytes is an error", 0, 511, kIoError},
                          {"of 513 bytes is an error", 0, 513, kIoError},
                          {"of 1023 bytes at the end is an error", kSectors - 2, 1023, kIoError}};
  for (const Place& place : places) {
    add.request(std::string("a read ") + place.name, place.status, kIn, place.sector, 0, place.bytes);
    add.request(std::string("a write ") + place.name, place.status, kOut, place.sector, place.bytes, 0);
  }
}

void add_types(Adder add) {
  for (const std::uint32_t type : std::initializer_list<std::uint32_t>{
           2,  3,  5,  6,  7,  9,  10,    12,      14,         15,         16,
           17, 18, 20, 22, 24, 26, 0x100, 0x10000, 0x80000000, 0x80000001, 0xffffffff}) {
    add.request("type " + std::to_string(type) + " is unsupported", kUnsupported, type, 0, 512, 512);
  }
  add.request("a flush with data and a wild sector is a flush", kOk, kFlush, UINT64_MAX, 512, 512);
  add.request("a read with data to the device is a read", kOk, kIn, 0, 512, 512);
  add.request("a write with room for an answer is a write", kOk, kOut, 0, 512, 512);
  for (const std::uint32_t size : {0u, 1u, 19u}) {
    add.request("an identity into " + std::to_string(size) + " bytes is an error", kIoError, kGetId, 0, 0, size);
  }
  for (const std::uint32_t size : {20u, 21u, 512u, 65536u}) {
    add("an identity into " + std::to_string(size) + " bytes is served and 20 long", [size](BlockBench& bench) {
      bench.driver.offer(0, header(kGetId, 0), size + 1);
      bench.kick(0);
      const auto used = bench.driver.used(0);
      REQUIRE(used.size() == 1);
      CHECK(used.front().size() == 21);
      CHECK(used.front().substr(0, 20) == std::string("serial") + std::string(14, '\0'));
    });
  }
}

void add_shapes(Adder add) {
  const auto broken = [&](const char* name, std::vector<D> descriptors) {
    add(name, [descriptors](BlockBench& bench) {
      CHECK(raw(bench, kIn, 0, descriptors) == kNone);
      CHECK(bench.broken());
      CHECK(bench.driver.get<std::uint8_t>(GuestAddress{kStatusAt}) == 0xee);
    });
  };
  broken("a request of a header alone breaks the driver", {kHeader});
  broken("a status byte that is only readable breaks the driver", {kHeader, {kStatusAt, 1, 0, 0}});
  broken("a status byte of no bytes breaks the driver", {kHeader, {kStatusAt, 0, kWrite, 0}});
  broken("no header breaks the driver", {kStatusByte});
  broken("a header of no bytes breaks the driver", {{kAt, 0, 0, 0}, kStatusByte});
  broken("a header of one byte breaks the driver", {{kAt, 1, 0, 0}, kStatusByte});
  broken("a header of 15 bytes breaks the driver", {{kAt, 15, 0, 0}, kStatusByte});
  broken("a header that is writable breaks the driver", {{kAt, 16, kWrite, 0}, kStatusByte});
  broken("a header of 15 single bytes breaks the driver", {{kAt, 1, 0, 0},
                                                           {kAt + 1, 1, 0, 0},
                                                           {kAt + 2, 1, 0, 0},
                                                           {kAt + 3, 1, 0, 0},
                                                           {kAt + 4, 1, 0, 0},
                                                           {kAt + 5, 1, 0, 0},
                                                           {kAt + 6, 1, 0, 0},
                                                           {kAt + 7, 1, 0, 0},
                                                           {kAt + 8, 1, 0, 0},
                                                           {kAt + 9, 1, 0, 0},
                                                           {kAt + 10, 1, 0, 0},
                                                           {kAt + 11, 1, 0, 0},
                                                           {kAt + 12, 1, 0, 0},
                                                           {kAt + 13, 1, 0, 0},
                                                           {kAt + 14, 1, 0, 0},
                                                           kStatusByte});

  const auto served = [&](const char* name, int status, std::uint32_t type, std::vector<D> descriptors) {
    add(name, [=](BlockBench& bench) {
      CHECK(raw(bench, type, 0, descriptors) == status);
      CHECK_FALSE(bench.broken());
    });
  };
  std::vector<D> bytes;
  for (std::uint64_t i = 0; i < 16; ++i) bytes.push_back({kAt + i, 1, 0, 0});
  std::vector<D> split = bytes;
  split.push_back({kData, 512, kWrite, 0});
  split.push_back(kStatusByte);
  served("a header of 16 single bytes is served", kOk, kIn, split);
  std::vector<D> empties;
  for (const D& one : bytes) empties.push_back(one), empties.push_back({kAt, 0, 0, 0});
  empties.push_back({kData, 0, kWrite, 0});
  empties.push_back(kStatusByte);
  empties.push_back({kData, 0, kWrite, 0});
  served("empty buffers in between are passed over", kOk, kIn, empties);
  served("data in pieces of 511 and 1 is served", kOk, kIn,
         {kHeader, {kData, 511, kWrite, 0}, {kData + 600, 1, kWrite, 0}, kStatusByte});
  served("data in 62 pieces is no sector and an error", kIoError, kIn, [] {
    std::vector<D> out{kHeader};
    for (std::uint64_t i = 0; i < 62; ++i) out.push_back({kData + i, 1, kWrite, 0});
    out.push_back(kStatusByte);
    return out;
  }());
  served("one buffer for header, data and status is the driver's own affair", kOk, kIn,
         {kHeader, {kAt, 512, kWrite, 0}, kStatusByte});
  served("one buffer read into twice is the driver's own affair", kOk, kIn,
         {kHeader, {kData, 512, kWrite, 0}, {kData, 512, kWrite, 0}, kStatusByte});
  served("a status byte within the data is written last", kOk, kIn,
         {kHeader, {kStatusAt - 100, 512, kWrite, 0}, kStatusByte});
  served("a disk read over the descriptor table harms nobody", kOk, kIn, {kHeader, {0, 1024, kWrite, 0}, kStatusByte});
  add("a disk read over the available ring breaks the driver", [](BlockBench& bench) {
    // The index is back at 0.
    CHECK(raw(bench, kIn, 0, {kHeader, {0x1000, 512, kWrite, 0}, kStatusByte}) == kNone);
  });
  served("a disk read over the used ring harms nobody", kOk, kIn, {kHeader, {0x2000, 1024, kWrite, 0}, kStatusByte});
  served("a disk write from the rings harms nobody", kOk, kOut, {kHeader, {0, 0x3000, 0, 0}, kStatusByte});
  served("a disk read into the highest memory is served", kOk, kIn,
         {kHeader, {GuardedMemory::kHighStart, GuardedMemory::kHighBytes, kWrite, 0}, kStatusByte});
  add("a read that fails writes nothing but its status", [](BlockBench& bench) {
    const std::string before(512, 'b');
    (void)bench.driver.memory().write(GuestAddress{kData}, std::as_bytes(std::span(before)));
    CHECK(raw(bench, kIn, kSectors, {kHeader, {kData, 512, kWrite, 0}, kStatusByte}) == kIoError);
    std::string after(512, '\0');
    (void)bench.driver.memory().read(GuestAddress{kData}, std::as_writable_bytes(std::span(after)));
    CHECK(after == before);
  });
  add("indices wrap at 65536 and nothing is lost", [](BlockBench& bench) {
    for (int i = 0; i < 1100; ++i) {
      for (int n = 0; n < 32; ++n) bench.driver.offer(0, header(kGetId, 0), 21);
      bench.kick(0);
      REQUIRE(bench.driver.used(0).size() == 32);
      for (int n = 0; n < 32; ++n) bench.driver.offer(0, header(0xff, 0), 1);
      bench.kick(0);
      REQUIRE(bench.driver.used(0).size() == 32);
    }
    CHECK_FALSE(bench.broken());
  });
}

void add_discards(Adder add) {
  struct Segment {
    std::uint64_t sector;
    std::uint32_t sectors, flags;
  };
  const auto discard = [&](const char* name, int status, std::vector<Segment> segments, std::size_t cut = 0) {
    add(name, [=](BlockBench& bench) {
      REQUIRE(bench.request(kOut, 8, std::string(512, 'k'), 0) == kOk);
      std::string data(segments.size() * sizeof(Segment), '\0');
      if (!segments.empty()) std::memcpy(data.data(), segments.data(), data.size());
      data.resize(data.size() - cut);
      CHECK(bench.request(kDiscard, 0, data, 0) == status);
      REQUIRE(bench.request(kIn, 8, {}, 512) == kOk);
      const bool hit = status == kOk && !segments.empty() && segments[0].sector == 8 && segments[0].sectors > 0;
      CHECK(bench.answer[0] == (hit ? '\0' : 'k'));
    });
  };
  discard("a discard of nothing is an error", kIoError, {});
  discard("a discard of half a segment is an error", kIoError, {{0, 8, 0}}, 8);
  discard("a discard of 15 bytes is an error", kIoError, {{0, 8, 0}}, 1);
  discard("a discard of 31 bytes is an error", kIoError, {{0, 8, 0}, {0, 8, 0}}, 1);
  discard("a discard of 16 segments is served", kOk, std::vector<Segment>(16, {8, 8, 0}));
  discard("a discard of 17 segments is an error", kIoError, std::vector<Segment>(17, {8, 8, 0}));
  discard("a discard of 4096 segments is an error", kIoError, std::vector<Segment>(4096, {8, 8, 0}));
  discard("a discard past the end is an error", kIoError, {{kSectors, 8, 0}});
  discard("a discard across the end is an error", kIoError, {{kSectors - 4, 8, 0}});
  discard("a discard whose offset wraps to 0 is an error", kIoError, {{1ull << 55, 8, 0}});
  discard("a discard whose offset wraps to the data is an error", kIoError, {{(1ull << 55) + 8, 8, 0}});
  discard("a discard at the last sector there can be is an error", kIoError, {{UINT64_MAX, 8, 0}});
  discard("a discard whose end wraps is an error", kIoError, {{UINT64_MAX - 3, 8, 0}});
  discard("a discard of 2^32 - 1 sectors is an error", kIoError, {{0, 0xffffffff, 0}});
  discard("a discard of one sector more than allowed is an error", kIoError, {{0, (1u << 18) + 1, 0}});
  discard("a discard of no sectors does nothing", kOk, {{8, 0, 0}});
  discard("a discard of no sectors past the end is an error", kIoError, {{kSectors + 1, 0, 0}});
  discard("a discard with the unmap flag is unsupported", kUnsupported, {{8, 8, 1}});
  discard("a discard with flags that do not exist is unsupported", kUnsupported, {{8, 8, 0xfffffffe}});
  discard("a discard whose second segment is bad is an error", kIoError, {{64, 8, 0}, {kSectors, 8, 0}});
  discard("a discard of the same twice is served", kOk, {{8, 8, 0}, {8, 8, 0}});
  discard("a discard of part of a block is served", kOk, {{8, 1, 0}});
  add("a discard cut byte by byte is served", [](BlockBench& bench) {
    bench.driver.put(GuestAddress{kData}, Segment{0, 8, 0});
    std::vector<D> descriptors{kHeader};
    for (std::uint64_t i = 0; i < sizeof(Segment); ++i) descriptors.push_back({kData + i, 1, 0, 0});
    descriptors.push_back(kStatusByte);
    CHECK(raw(bench, kDiscard, 0, descriptors) == kOk);
  });
}

void add_files(Adder add) {
  struct Fault {
    const char* name;
    const char* path;
    int flags;
    int read, write, flush, discard;
  };
  const Fault faults[] = {{"a full device", "/dev/full", O_RDWR, kOk, kIoError, kIoError, kOk},
                          {"a device that ends at once", "/dev/null", O_RDWR, kIoError, kOk, kIoError, kOk},
                          {"a directory", "/", O_RDONLY | O_DIRECTORY, kIoError, kIoError, kOk, kOk},
                          {"a path descriptor", "/", O_PATH, kIoError, kIoError, kIoError, kOk},
                          {"a write-only descriptor", "/dev/zero", O_WRONLY, kIoError, kOk, kIoError, kOk},
                          {"a read-only descriptor", "/dev/zero", O_RDONLY, kOk, kIoError, kIoError, kOk}};
  const std::string segment = std::string(8, '\0') + std::string("\x08\0\0\0\0\0\0\0", 8);
  for (const Fault& fault : faults) {
    add(std::string("a disk that became ") + fault.name + " gives errors, no more", [=](BlockBench& bench) {
      const Swapped other(bench, open_file(fault.path, fault.flags));
      CHECK(bench.request(kIn, 0, {}, 4096) == fault.read);
      CHECK(bench.request(kOut, 0, std::string(4096, 'w'), 0) == fault.write);
      // A directory's flush succeeds on some file systems.
      if (fault.flush != kOk) CHECK(bench.request(kFlush, 0, {}, 0) == fault.flush);
      CHECK(bench.request(kDiscard, 0, segment, 0) == fault.discard);
      CHECK(bench.request(kGetId, 0, {}, 20) == kOk);
    });
  }
  add("a disk that became a pipe gives errors, no more", [](BlockBench& bench) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    const base::UniqueFd writer(ends[1]);
    const Swapped other(bench, base::UniqueFd(ends[0]));
    CHECK(bench.request(kIn, 0, {}, 512) == kIoError);
    CHECK(bench.request(kOut, 0, std::string(512, 'w'), 0) == kIoError);
    CHECK(bench.request(kFlush, 0, {}, 0) == kIoError);
  });
  for (const off_t left : std::initializer_list<off_t>{0, 1, 511, 512, 700}) {
    add("a disk cut to " + std::to_string(left) + " bytes gives errors and takes writes", [left](BlockBench& bench) {
      REQUIRE(::ftruncate(bench.file, left) == 0);
      CHECK(bench.request(kIn, 0, {}, 512) == (left >= 512 ? kOk : kIoError));
      CHECK(bench.request(kIn, 0, {}, 1024) == kIoError);
      CHECK(bench.request(kIn, kSectors - 1, {}, 512) == kIoError);
      CHECK(bench.request(kOut, 100, std::string(512, 'w'), 0) == kOk);
      CHECK(bench.request(kIn, 100, {}, 512) == kOk);
      CHECK(bench.answer.substr(0, 512) == std::string(512, 'w'));
    });
  }
  add("a disk that grew is as large as it was", [](BlockBench& bench) {
    REQUIRE(::ftruncate(bench.file, 2 * kSectors * 512) == 0);
    CHECK(bench.request(kIn, kSectors, {}, 512) == kIoError);
  });
  add("a limit on file sizes is an error", [](BlockBench& bench) {
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
    const rlimit small{4096, before.rlim_max};
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);  // as the monitor does
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
    CHECK(bench.request(kOut, 0, std::string(4096, 'w'), 0) == kOk);
    CHECK(bench.request(kOut, 8, std::string(512, 'w'), 0) == kIoError);
    CHECK(bench.request(kOut, 7, std::string(1024, 'w'), 0) == kIoError);  // half of it went
    ::setrlimit(RLIMIT_FSIZE, &before);
    (void)std::signal(SIGXFSZ, handler);
  });
  add("a sealed disk gives errors", [](BlockBench& bench) {
    base::UniqueFd sealed(::memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    REQUIRE(::ftruncate(sealed.get(), 8192) == 0);
    REQUIRE(::fcntl(sealed.get(), F_ADD_SEALS, F_SEAL_WRITE) == 0);
    const Swapped other(bench, std::move(sealed));
    CHECK(bench.request(kOut, 0, std::string(512, 'w'), 0) == kIoError);
    CHECK(bench.request(kIn, 0, {}, 512) == kOk);
    CHECK(bench.request(kDiscard, 0, std::string(16, '\0'), 0) == kOk);
  });
}

// What is checked is what is used, whatever the driver writes in between.
void add_second_vcpu(Adder add) {
  const auto header_changes = [&](const char* name, std::function<Header(std::uint64_t)> header_at,
                                  std::uint32_t type) {
    add(name, [=](BlockBench& bench) {
      bench.driver.put(GuestAddress{kData}, std::uint8_t{1});
      std::uint64_t count = 0;
      const SecondVcpu other(bench.driver.memory(), GuestAddress{kAt}, 4096, [&] {
        const Header next = header_at(++count);
        std::memcpy(bench.driver.host() + kAt, &next, sizeof next);
      });
      const bool to_disk = type == kOut;
      bench.driver.describe_raw(0, 0, {kAt, 16, kNext, 1});
      bench.driver.describe_raw(0, 1, {kData, 512, static_cast<std::uint16_t>(to_disk ? kNext : kNext | kWrite), 2});
      bench.driver.describe_raw(0, 2, kStatusByte);
      for (int i = 0; i < 20; ++i) bench.driver.publish(0, 0);
      bench.kick(0);
      CHECK(other.touches() >= 20);
      CHECK(other.touches() <= 3 * 20);  // the header is read once a request
    });
  };
  header_changes(
      "a sector that moves past the end between looks harms nobody",
      [](std::uint64_t n) {
        return Header{kIn, 0, n % 2 == 0 ? 0 : UINT64_MAX / 512};
      },
      kIn);
  header_changes(
      "a type that turns from write to read between looks harms nobody",
      [](std::uint64_t n) {
        return Header{n % 2 == 0 ? kIn : kOut, 0, 0};
      },
      kOut);
  header_changes(
      "a type that turns into a discard between looks harms nobody",
      [](std::uint64_t n) {
        return Header{n % 2 == 0 ? kDiscard : kOut, 0, 0};
      },
      kOut);
  add("discard segments that change between looks harm nobody", [](BlockBench& bench) {
    std::uint64_t count = 0;
    const SecondVcpu other(bench.driver.memory(), GuestAddress{kData}, 4096, [&] {
      const std::uint64_t sector = ++count % 2 == 0 ? 0 : UINT64_MAX / 2;
      std::memcpy(bench.driver.host() + kData, &sector, sizeof sector);
    });
    for (int i = 0; i < 10; ++i) {
      (void)raw(bench, kDiscard, 0, {kHeader, {kData, 16, 0, 0}, kStatusByte});
      CHECK_FALSE(bench.broken());
    }
    CHECK(other.touches() <= 30);
  });
}

// A disk that is larger than the guest's memory, and requests of all of that memory.
class LargeDiskBench final : public BlockBench {
 protected:
  std::unique_ptr<Device> make() override {
    constexpr std::uint64_t kBytes = std::uint64_t{64} << 30;
    std::vector<DiskLayer> layers(1);
    layers[0].file = memory_file(kBytes);
    file = layers[0].file.get();
    auto disk = Disk::open(std::move(layers), kBytes, false);
    REQUIRE(disk);
    return std::make_unique<Block>(std::move(disk).value(), "large");
  }
};

std::vector<D> huge_read(int megabytes) {
  std::vector<D> out{kHeader};
  for (int i = 0; i < megabytes; ++i)
    out.push_back({0x30000, 0x40000, kWrite, 0}), out.push_back({0x30000, 0xc0000, kWrite, 0});
  out.push_back(kStatusByte);
  return out;
}

}  // namespace

Table block_violations() {
  Rows<BlockBench> rows;
  const Adder add(rows);
  add_ranges(add);
  add_types(add);
  add_shapes(add);
  add_discards(add);
  add_files(add);
  add_second_vcpu(add);
  Table out = table("blk", rows);
  append_common<BlockBench>(out, layout_rows(0));
  append_common<BlockBench>(out, ring_rows(0));

  Rows<LargeDiskBench> large;
  large.push_back(
      {"a turn moves no more than its share, and the rest is served in the next ones", [](LargeDiskBench& bench) {
         const std::vector<D> chain = huge_read(16);
         for (int i = 0; i < 15; ++i) bench.driver.publish(0, 0);
         bench.driver.put(GuestAddress{kAt}, Header{kIn, 0, 0});
         for (std::uint32_t i = 0; i < chain.size(); ++i) {
           D descriptor = chain[i];
           if (i + 1 < chain.size()) {
             descriptor.flags |= kNext, descriptor.next = static_cast<std::uint16_t>(i + 1);
           }
           bench.driver.describe_raw(0, i, descriptor);
         }
         bench.write(reg::kQueueNotify, 0);
         CHECK(unsigned{bench.driver.used_index(0)} >= 1);
         CHECK(unsigned{bench.driver.used_index(0)} <= 4);
         bench.settle();
         CHECK(unsigned{bench.driver.used_index(0)} == 15);
       }});
  large.push_back({"a turn makes no more than its share of flushes", [](LargeDiskBench& bench) {
                     for (int i = 0; i < 30; ++i) bench.driver.offer(0, header(kFlush, 0), 1);
                     bench.write(reg::kQueueNotify, 0);
                     CHECK(unsigned{bench.driver.used_index(0)} <= 16);
                     bench.settle();
                     CHECK(unsigned{bench.driver.used_index(0)} == 30);
                   }});
  large.push_back({"a turn discards no more than its share", [](LargeDiskBench& bench) {
                     struct Segment {
                       std::uint64_t sector;
                       std::uint32_t sectors, flags;
                     };
                     constexpr std::uint32_t kMost = 1u << 18;  // 128 MiB
                     const Segment four[] = {{0, kMost, 0}, {kMost, kMost, 0}, {2 * kMost, kMost, 0}, {0, kMost, 0}};
                     const std::string data(reinterpret_cast<const char*>(four), sizeof four);  // SAFETY: as bytes
                     for (int i = 0; i < 8; ++i) bench.driver.offer(0, header(kDiscard, 0) + data, 1);
                     bench.write(reg::kQueueNotify, 0);
                     CHECK(unsigned{bench.driver.used_index(0)} == 1);
                     bench.settle();
                     CHECK(unsigned{bench.driver.used_index(0)} == 8);
                   }});
  large.push_back({"a request of more than any driver was told to send is an error", [](LargeDiskBench& bench) {
                     CHECK(raw(bench, kIn, 0, huge_read(31)) == kOk);
                     std::vector<D> over{kHeader};
                     for (int i = 0; i < 62; ++i) over.push_back({0, 1 << 20, 0, 0});
                     over.push_back(kStatusByte);
                     CHECK(raw(bench, kOut, 0, over) == kIoError);
                     CHECK(bench.driver.used_index(0) == 2);
                   }});
  append(out, large);
  return out;
}

Table read_only_block_violations() {
  Rows<ReadOnlyBlockBench> rows;
  const auto refused = [&](const char* name, int status, std::uint32_t type, std::size_t readable) {
    rows.push_back({name, [=](ReadOnlyBlockBench& bench) {
                      CHECK(bench.request(type, 0, std::string(readable, '\0'), 0) == status);
                      CHECK_FALSE(bench.broken());
                      bench.use();
                    }});
  };
  refused("a write to a read-only disk is an error", kIoError, kOut, 512);
  refused("a write of nothing to a read-only disk is an error", kIoError, kOut, 0);
  refused("a write of half a sector to a read-only disk is an error", kIoError, kOut, 100);
  refused("a discard of a read-only disk is an error", kIoError, kDiscard, 16);
  refused("a discard of nothing of a read-only disk is an error", kIoError, kDiscard, 0);
  refused("a flush of a read-only disk is served", kOk, kFlush, 0);
  refused("zeroes to a read-only disk are unsupported", kUnsupported, kWriteZeroes, 16);
  rows.push_back(
      {"a driver that does not take the read-only feature writes no more than another", [](ReadOnlyBlockBench& bench) {
         bench.start();  // with VERSION_1 alone
         CHECK(bench.request(kOut, 0, std::string(512, 'w'), 0) == kIoError);
         CHECK(bench.request(kIn, 0, {}, 512) == kOk);
         CHECK(bench.answer.substr(0, 512) == std::string(512, '\0'));
       }});
  rows.push_back({"a read-only disk does not offer to discard", [](ReadOnlyBlockBench& bench) {
                    CHECK_FALSE(bench.driver.negotiate(*bench.transport, 1ull << 13));
                    CHECK(bench.driver.negotiate(*bench.transport, 1ull << 5));
                  }});
  Table out = table("blk read-only", rows);
  append_common<ReadOnlyBlockBench>(out, ring_rows(0));
  return out;
}

}  // namespace sandforge::vmm::test
