// SPDX-License-Identifier: Apache-2.0
#include "server/json_out.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>

#include "server/base64.hpp"

using namespace sandforge::server;

namespace {
std::string text(std::string_view value) {
  JsonWriter json;
  return json.text(value).take();
}
}  // namespace

TEST_CASE("nested values get their commas and the text ends in a newline") {
  JsonWriter json;
  json.begin_object().field("a", 1).key("b").begin_array().integer(-2).boolean(true).begin_object().end_object();
  json.end_array().field("c", "x").end_object();
  CHECK(json.take() == "{\"a\":1,\"b\":[-2,true,{}],\"c\":\"x\"}\n");
}

TEST_CASE("extreme numbers are written exactly") {
  JsonWriter json;
  json.begin_array().integer(INT64_MIN).integer(INT64_MAX).unsigned_integer(UINT64_MAX).end_array();
  CHECK(json.take() == "[-9223372036854775808,9223372036854775807,18446744073709551615]\n");
}

TEST_CASE("what JSON cannot hold plainly is escaped") {
  CHECK(text("a\"b\\c\n\r\t\x01\x7f") == "\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u007f\"\n");
  CHECK(text(std::string_view("\0", 1)) == "\"\\u0000\"\n");
}

TEST_CASE("valid UTF-8 passes unchanged") { CHECK(text("ä€😀\xF4\x8F\xBF\xBF") == "\"ä€😀\xF4\x8F\xBF\xBF\"\n"); }

TEST_CASE("invalid UTF-8 becomes one replacement character for each ill-formed part") {
  const std::string r = "\xEF\xBF\xBD";
  CHECK(text("\xFF") == "\"" + r + "\"\n");
  CHECK(text("\xC0\xAF") == "\"" + r + r + "\"\n");                  // overlong
  CHECK(text("\xED\xA0\x80") == "\"" + r + r + r + "\"\n");          // surrogate
  CHECK(text("\xF4\x90\x80\x80") == "\"" + r + r + r + r + "\"\n");  // beyond U+10FFFF
  CHECK(text("a\xE2\x82") == "\"a" + r + "\"\n");                    // cut off
  CHECK(text("\xE2\x82z") == "\"" + r + "z\"\n");
  CHECK(text("\x80z") == "\"" + r + "z\"\n");
}

TEST_CASE("bytes are written as numbers or base64") {
  const std::string bytes("\x00\x01\xff\x64", 4);
  JsonWriter json;
  json.begin_object().key("a").byte_array(bytes).key("b").base64(bytes).key("c").byte_array("").end_object();
  CHECK(json.take() == "{\"a\":[0,1,255,100],\"b\":\"AAH/ZA==\",\"c\":[]}\n");
}

TEST_CASE("base64 round trips at every length") {
  std::string bytes;
  for (int i = 0; i < 300; ++i) {
    std::string encoded;
    append_base64(encoded, bytes);
    CHECK(decode_base64(encoded) == bytes);
    bytes += static_cast<char>(i * 7);
  }
}

TEST_CASE("base64 that is not in the one strict form is refused") {
  for (const char* bad :
       {"A", "AA", "AAA", "AA=A", "A===", "====", "AA==AA==", "AB==", "AAB=", "AA-_", "AA A", "AAAA\n"}) {
    CAPTURE(bad);
    CHECK_FALSE(decode_base64(bad).has_value());
  }
}
