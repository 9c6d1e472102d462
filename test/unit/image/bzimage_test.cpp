// SPDX-License-Identifier: Apache-2.0
#include "image/bzimage.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <string>

#include "image/kernel.hpp"

namespace sandforge::image {
namespace {

template <typename T>
void put(std::string& bytes, std::size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(value));
}

// Setup of two sectors, then 16 bytes of something, then the payload.
std::string make_bzimage(std::string_view payload) {
  std::string image(3 * 512 + 16, '\0');
  image[0x1f1] = 2;
  image.replace(0x202, 4, "HdrS");
  put<std::uint16_t>(image, 0x206, 0x20f);
  put<std::uint32_t>(image, 0x248, 16);
  put<std::uint32_t>(image, 0x24c, static_cast<std::uint32_t>(payload.size()));
  image += payload;
  return image;
}

std::string make_elf() {
  std::string elf(64 + 56, '\0');
  elf.replace(0, 7,
              std::string("\x7f"
                          "ELF\x02\x01\x01",
                          7));
  put<std::uint16_t>(elf, 18, 62);
  put<std::uint64_t>(elf, 32, 64);
  put<std::uint16_t>(elf, 54, 56);
  put<std::uint16_t>(elf, 56, 1);
  return elf;
}

using namespace std::literals;

TEST_CASE("a bzImage gives its payload by the format's magic, without the appended length") {
  const std::string lz4 = make_bzimage(
      "\x02\x21\x4c\x18"
      "data"
      "\4\0\0\0"s);
  const auto found = find_payload(lz4);
  REQUIRE(found);
  CHECK(found.value().compression == Compression::Lz4);
  CHECK(found.value().bytes ==
        "\x02\x21\x4c\x18"
        "data"s);

  const std::string gzip = make_bzimage(
      "\x1f\x8b"
      "data"
      "\4\0\0\0"s);
  REQUIRE(find_payload(gzip));
  CHECK(find_payload(gzip).value().compression == Compression::Gzip);
  CHECK(find_payload(gzip).value().bytes.size() == 10);

  CHECK(find_payload(make_bzimage("\xfd"
                                  "7zXZ\0"
                                  "data"
                                  "\4\0\0\0"s))
            .value()
            .compression == Compression::Xz);
  CHECK(find_payload(make_bzimage("\x28\xb5\x2f\xfd"
                                  "data"
                                  "\4\0\0\0"s))
            .value()
            .compression == Compression::Zstd);
  CHECK(find_payload(make_bzimage(make_elf())).value().compression == Compression::None);
}

TEST_CASE("a bzImage that is cut off anywhere is refused") {
  const std::string image = make_bzimage(
      "\x02\x21\x4c\x18"
      "data"
      "\4\0\0\0"s);
  for (std::size_t size = 0; size < image.size(); ++size) {
    CHECK_FALSE(find_payload(std::string_view(image).substr(0, size)));
  }
}

TEST_CASE("no flipped bit of a bzImage leads beyond its end") {
  const std::string good = make_bzimage(
      "\x02\x21\x4c\x18"
      "data"
      "\4\0\0\0"s);
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string image = good;
    image[bit / 8] = static_cast<char>(image[bit / 8] ^ (1 << (bit % 8)));
    const auto found = find_payload(image);
    if (!found) continue;
    const std::string_view bytes = found.value().bytes;
    CHECK(bytes.data() >= image.data());
    CHECK(bytes.data() + bytes.size() <= image.data() + image.size());
  }
}

TEST_CASE("a bzImage older than its payload fields, or compressed in an unknown way, is unsupported") {
  std::string old = make_bzimage(
      "\x1f\x8b"
      "data"s);
  put<std::uint16_t>(old, 0x206, 0x207);
  CHECK(find_payload(old).error().code == base::Code::Unsupported);
  CHECK(find_payload(make_bzimage("BZh9 data")).error().code == base::Code::Unsupported);
}

TEST_CASE("only an x86-64 ELF file with its program headers inside passes as vmlinux") {
  CHECK(is_x86_64_elf(make_elf()));
  CHECK_FALSE(is_x86_64_elf(""));
  CHECK_FALSE(is_x86_64_elf(make_elf().substr(0, 100)));
  std::string arm = make_elf();
  put<std::uint16_t>(arm, 18, 183);
  CHECK_FALSE(is_x86_64_elf(arm));
  std::string beyond = make_elf();
  put<std::uint64_t>(beyond, 32, ~std::uint64_t{0});
  CHECK_FALSE(is_x86_64_elf(beyond));
}

TEST_CASE("the release of a kernel is read from its banner, not from a format string") {
  CHECK(find_release("..Linux version %s..Linux version 6.1.0-9-cloud-amd64 (x@y) #1") == "6.1.0-9-cloud-amd64");
  CHECK(find_release("nothing") == "");
  CHECK(find_release("Linux version 6") == "");
}

}  // namespace
}  // namespace sandforge::image
