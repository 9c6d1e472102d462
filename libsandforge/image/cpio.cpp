// SPDX-License-Identifier: Apache-2.0
#include "image/cpio.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <iterator>

namespace sandforge::image {

// One entry: "070701", thirteen fields of 8 hex digits, the name with its NUL, padding to 4, the content, padding to 4.
// SPEC: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst
struct CpioWriter::Header {
  std::uint32_t mode = 0;
  std::uint32_t links = 1;
  std::uint32_t device_major = 0;
  std::uint32_t device_minor = 0;
};

namespace {
constexpr std::size_t kFieldAlignment = 4;
constexpr std::size_t kArchiveAlignment = 512;

void pad(std::string& bytes, std::size_t alignment) {
  bytes.append((alignment - bytes.size() % alignment) % alignment, '\0');
}
}  // namespace

void CpioWriter::entry(std::string_view name, const Header& header, std::string_view content) {
  constexpr std::uint32_t kNone = 0;  // owner, time, device of the archive's own file system, checksum
  const std::uint32_t inode = header.mode == 0 ? 0 : next_inode_++;
  fmt::format_to(std::back_inserter(bytes_),
                 "070701{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}", inode,
                 header.mode, kNone, kNone, header.links, kNone, content.size(), kNone, kNone, header.device_major,
                 header.device_minor, name.size() + 1, kNone);
  bytes_.append(name);
  bytes_.push_back('\0');
  pad(bytes_, kFieldAlignment);
  bytes_.append(content);
  pad(bytes_, kFieldAlignment);
}

void CpioWriter::directory(std::string_view name, unsigned mode) {
  entry(name, {.mode = S_IFDIR | mode, .links = 2}, {});
}

void CpioWriter::file(std::string_view name, std::string_view content, unsigned mode) {
  entry(name, {.mode = S_IFREG | mode}, content);
}

void CpioWriter::character_device(std::string_view name, unsigned major, unsigned minor, unsigned mode) {
  entry(name, {.mode = S_IFCHR | mode, .device_major = major, .device_minor = minor}, {});
}

std::string CpioWriter::finish() && {
  entry("TRAILER!!!", {}, {});
  pad(bytes_, kArchiveAlignment);
  return std::move(bytes_);
}

}  // namespace sandforge::image
