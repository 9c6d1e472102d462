// SPDX-License-Identifier: Apache-2.0
#include "vmm/memory/guest_ram.hpp"

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "base/unique_fd.hpp"

using namespace sandforge;
using vmm::GuestAddress;

namespace {

base::UniqueFd file_of(const std::string& bytes) {
  base::UniqueFd fd(::memfd_create("test", MFD_CLOEXEC));
  REQUIRE(::write(fd.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  return fd;
}

std::string read(const vmm::GuestRam& ram, std::uint64_t address, std::size_t bytes) {
  std::string out(bytes, '?');
  REQUIRE(ram.memory().read(GuestAddress{address}, std::as_writable_bytes(std::span(out))));
  return out;
}

}  // namespace

TEST_CASE("memory beyond 3 GiB lies above the device hole") {
  auto ram = vmm::GuestRam::create(5ull << 30);
  REQUIRE(ram);
  const auto& memory = ram.value().memory();
  CHECK(ram.value().low_end() == vmm::kDeviceHoleStart);
  CHECK(memory.contains(GuestAddress{vmm::kDeviceHoleStart - 1}, 1));
  CHECK_FALSE(memory.contains(GuestAddress{vmm::kDeviceHoleStart - 1}, 2));
  CHECK_FALSE(memory.contains(GuestAddress{0xfec00000}, 4));
  CHECK(memory.contains(GuestAddress{vmm::kDeviceHoleEnd}, 2ull << 30));
  CHECK_FALSE(memory.contains(GuestAddress{vmm::kDeviceHoleEnd}, (2ull << 30) + 1));
  CHECK(memory.write_object(GuestAddress{(6ull << 30) - 8}, std::uint64_t{1}));
}

TEST_CASE("a placed file keeps its bytes, private, with zeros after its last one") {
  const std::string bytes(2 * 4096 + 100, 'k');
  const base::UniqueFd fd = file_of(std::string(4096, 'h') + bytes + std::string(4096, 't'));
  auto ram = vmm::GuestRam::create(1 << 20);
  REQUIRE(ram);
  REQUIRE(ram.value().place_file(GuestAddress{0x4000}, fd.get(), 4096, bytes.size()));
  CHECK(read(ram.value(), 0x4000, bytes.size()) == bytes);
  CHECK(read(ram.value(), 0x4000 + bytes.size(), 2000) == std::string(2000, '\0'));
  CHECK(ram.value().memory().write_object(GuestAddress{0x4000}, 'x'));
  char first = 0;
  REQUIRE(::pread(fd.get(), &first, 1, 4096) == 1);
  CHECK(first == 'k');
}

TEST_CASE("a file that fits no page border is read to where it belongs") {
  const base::UniqueFd fd = file_of(std::string(10, 'a') + std::string(5000, 'b'));
  auto ram = vmm::GuestRam::create(1 << 20);
  REQUIRE(ram);
  REQUIRE(ram.value().place_file(GuestAddress{0x1003}, fd.get(), 10, 5000));
  CHECK(read(ram.value(), 0x1003, 5000) == std::string(5000, 'b'));
  CHECK(read(ram.value(), 0x1000, 3) == std::string(3, '\0'));
}

TEST_CASE("files that are too short or do not fit are errors") {
  const base::UniqueFd fd = file_of("short");
  auto ram = vmm::GuestRam::create(1 << 20);
  REQUIRE(ram);
  CHECK(ram.value().place_file(GuestAddress{0x1000}, fd.get(), 0, 6).error().reason == "truncated");
  CHECK(ram.value().place_file(GuestAddress{(1 << 20) - 2}, fd.get(), 0, 5).error().reason == "memory_too_small");
  CHECK(ram.value().place_file(GuestAddress{UINT64_MAX}, fd.get(), 0, 5).error().reason == "memory_too_small");
  const base::Status named = ram.value().place_file(GuestAddress{UINT64_MAX}, fd.get(), 0, 5, "its initrd");
  CHECK(named.error().message.find("its initrd") != std::string::npos);
  CHECK_FALSE(named.error().remedy.empty());
  CHECK_FALSE(vmm::GuestRam::create(4097));
  CHECK_FALSE(vmm::GuestRam::create(0));
}

TEST_CASE("memory starts on a border of huge pages, between pages without access") {
  auto ram = vmm::GuestRam::create(1 << 20);
  REQUIRE(ram);
  const std::byte* host = ram.value().memory().regions().front().host;
  CHECK(reinterpret_cast<std::uintptr_t>(host) % (2 << 20) == 0);
  unsigned char resident = 0;
  CHECK(::mincore(const_cast<std::byte*>(host) - 4096, 4096, &resident) == 0);  // ours, not someone else's
}

TEST_CASE("pages made private early keep the file's bytes, whole pages only") {
  const std::string bytes(3 * 4096, 'k');
  const base::UniqueFd fd = file_of(bytes);
  auto ram = vmm::GuestRam::create(1 << 20);
  REQUIRE(ram);
  REQUIRE(ram.value().place_file(GuestAddress{0x4000}, fd.get(), 0, bytes.size()));
  ram.value().make_private(GuestAddress{0x4100}, bytes.size());
  ram.value().make_private(GuestAddress{(1 << 20) - 4096}, 8192);  // not RAM to its end: nothing happens
  CHECK(read(ram.value(), 0x4000, bytes.size()) == bytes);
  REQUIRE(::pwrite(fd.get(), "xx", 2, 2 * 4096) == 2);
  CHECK(read(ram.value(), 0x6000, 2) == "kk");  // private by now, where the host can do that
}
