// SPDX-License-Identifier: Apache-2.0
#include "image/bzimage.hpp"

#include <array>
#include <cstdint>
#include <cstring>
#include <utility>

namespace sandforge::image {

namespace {

using namespace std::literals;

// SPEC: the kernel's Documentation/x86/boot.rst, "The Real-Mode Kernel Header"; offsets from the start of the file.
constexpr std::size_t kSetupSectors = 0x1f1;   // u8, 512-byte sectors after the first; 0 means 4
constexpr std::size_t kMagic = 0x202;          // "HdrS"
constexpr std::size_t kVersion = 0x206;        // u16, payload fields since 2.08
constexpr std::size_t kPayloadOffset = 0x248;  // u32, from the end of the setup sectors
constexpr std::size_t kPayloadLength = 0x24c;  // u32
constexpr std::size_t kHeaderEnd = 0x250;
constexpr std::uint16_t kFirstVersion = 0x0208;
constexpr std::size_t kSector = 512;
constexpr unsigned kDefaultSetupSectors = 4;

// The build of the kernel appends the uncompressed length to all formats but gzip, whose own trailer is just that.
constexpr std::size_t kLengthTrailer = 4;

// SAFETY: both require offset + sizeof(T) <= image.size(); x86-64 hosts read the file's byte order.
template <typename T>
T read_at(std::string_view image, std::size_t offset) noexcept {
  T value;
  std::memcpy(&value, image.data() + offset, sizeof(value));
  return value;
}

constexpr std::array<std::pair<std::string_view, Compression>, 5> kMagics = {{
    {"\x1f\x8b"sv, Compression::Gzip},
    {"\xfd"
     "7zXZ\0"sv,
     Compression::Xz},
    {"\x02\x21\x4c\x18"sv, Compression::Lz4},  // the legacy frame
    {"\x28\xb5\x2f\xfd"sv, Compression::Zstd},
    {"\x7f"
     "ELF"sv,
     Compression::None},
}};

base::Error corrupt(std::string text) {
  return base::make_error(base::Code::Corrupt, "kernel_corrupt", "kernel image: " + std::move(text));
}

}  // namespace

bool is_bzimage(std::string_view image) noexcept {
  return image.size() >= kHeaderEnd && image.substr(kMagic, 4) == "HdrS";
}

base::Result<Payload> find_payload(std::string_view image) {
  if (!is_bzimage(image)) return corrupt("it has no bzImage header");
  const auto version = read_at<std::uint16_t>(image, kVersion);
  if (version < kFirstVersion) {
    return base::make_error(base::Code::Unsupported, "kernel_unsupported",
                            "kernel image: it is older than boot protocol 2.08 and does not tell where its payload is");
  }
  unsigned sectors = read_at<std::uint8_t>(image, kSetupSectors);
  if (sectors == 0) sectors = kDefaultSetupSectors;
  // 64 bits hold the sum of a u8 times 512 and two u32.
  const std::uint64_t start = (std::uint64_t{sectors} + 1) * kSector + read_at<std::uint32_t>(image, kPayloadOffset);
  const std::uint64_t length = read_at<std::uint32_t>(image, kPayloadLength);
  if (start > image.size() || length > image.size() - start) return corrupt("its payload lies beyond its end");
  Payload payload;
  payload.bytes = image.substr(static_cast<std::size_t>(start), static_cast<std::size_t>(length));
  for (const auto& [magic, compression] : kMagics) {
    if (!payload.bytes.starts_with(magic)) continue;
    payload.compression = compression;
    const bool has_trailer = compression != Compression::Gzip && compression != Compression::None;
    if (!has_trailer) return payload;
    if (payload.bytes.size() < magic.size() + kLengthTrailer) return corrupt("its payload is cut off");
    payload.bytes.remove_suffix(kLengthTrailer);
    return payload;
  }
  return base::make_error(base::Code::Unsupported, "kernel_unsupported",
                          "kernel image: its payload is compressed in a way that is not known",
                          "give a vmlinux, or a kernel compressed with gzip, xz, lz4 or zstd");
}

bool is_x86_64_elf(std::string_view image) noexcept {
  // SPEC: System V ABI, ELF header (64 bytes): class 2, data 1, e_machine 62 at 18, e_phoff at 32, e_phentsize at 54,
  // e_phnum at 56.
  constexpr std::size_t kElfHeader = 64;
  constexpr std::uint16_t kX86_64 = 62, kProgramHeader = 56;
  if (image.size() < kElfHeader || !image.starts_with("\x7f"
                                                      "ELF\x02\x01\x01"sv))
    return false;
  const auto offset = read_at<std::uint64_t>(image, 32);
  const auto count = read_at<std::uint16_t>(image, 56);
  return read_at<std::uint16_t>(image, 18) == kX86_64 && read_at<std::uint16_t>(image, 54) == kProgramHeader &&
         count > 0 && offset <= image.size() && std::size_t{count} * kProgramHeader <= image.size() - offset;
}

}  // namespace sandforge::image
