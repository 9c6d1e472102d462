// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <string>

#include "image/modules.hpp"

using sandforge::image::without_signature;

namespace {

// What sign-file appends: `signature` bytes, the trailer with its length, the marker.
std::string appended(std::size_t signature, std::size_t claimed) {
  std::string out(signature, 's');
  out += std::string("\0\0\2\0\0\0\0\0", 8);
  for (const int shift : {24, 16, 8, 0}) out += static_cast<char>(claimed >> shift & 0xff);
  return out + "~Module signature appended~\n";
}

}  // namespace

TEST_CASE("a signed module loses exactly its signature") {
  CHECK(without_signature("ELF body" + appended(664, 664)) == "ELF body");
}

TEST_CASE("a module without a signature stays as it is, and one with a lie about its length too") {
  CHECK(without_signature("ELF body") == "ELF body");
  CHECK(without_signature("").empty());
  CHECK(without_signature("~Module signature appended~\n") == "~Module signature appended~\n");
  const std::string lie = "ELF body" + appended(10, 0xffffffff);
  CHECK(without_signature(lie) == lie);
}
