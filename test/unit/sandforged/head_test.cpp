// SPDX-License-Identifier: Apache-2.0
#include "server/head.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "server/caps.hpp"

using namespace sandforge::server;

namespace {

// Status of what the connection would answer: 0 accepted, -1 waiting for more.
int verdict(const std::string& text) {
  HeadFinder finder;
  const auto found = finder.find(text);
  if (const auto* error = std::get_if<HeadError>(&found)) return error->status;
  const auto* length = std::get_if<std::size_t>(&found);
  if (length == nullptr) return -1;
  const auto parsed = parse_head(std::string_view(text).substr(0, *length));
  const auto* error = std::get_if<HeadError>(&parsed);
  return error == nullptr ? 0 : error->status;
}

Head accepted(const std::string& text) {
  REQUIRE(verdict(text) == 0);
  return std::get<Head>(parse_head(text));
}

std::string with(const std::string& lines) {
  return "POST /v1/sandboxes HTTP/1.1\r\nHost: localhost\r\n" + lines + "\r\n";
}

}  // namespace

TEST_CASE("an ordinary head is parsed into its parts") {
  const Head head =
      accepted("PUT /v1/x?path=/a%20b HTTP/1.1\r\nHOST: localhost:8080\r\nContent-Length: 12\r\nX-A:  b \t\r\n\r\n");
  CHECK(head.method == "PUT");
  CHECK(head.target == "/v1/x?path=/a%20b");
  CHECK(head.host == "localhost:8080");
  CHECK(head.body == BodyKind::Length);
  CHECK(head.content_length == 12);
  CHECK(head.keep_alive);
  CHECK(*head.find("x-a") == "b");
}

TEST_CASE("heads that two parsers could read differently are refused") {
  struct Case {
    const char* name;
    std::string text;
    int status;
  };
  const std::vector<Case> cases = {
      {"length and chunked", with("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"), 400},
      {"chunked and length", with("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"), 400},
      {"two lengths", with("Content-Length: 4\r\nContent-Length: 5\r\n"), 400},
      {"two equal lengths", with("Content-Length: 4\r\nContent-Length: 4\r\n"), 400},
      {"a list of lengths", with("Content-Length: 4, 4\r\n"), 400},
      {"a signed length", with("Content-Length: +4\r\n"), 400},
      {"a negative length", with("Content-Length: -4\r\n"), 400},
      {"a hexadecimal length", with("Content-Length: 0x4\r\n"), 400},
      {"an empty length", with("Content-Length:\r\n"), 400},
      {"a length beyond 64 bits", with("Content-Length: 99999999999999999999999\r\n"), 413},
      {"two codings", with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400},
      {"another coding", with("Transfer-Encoding: gzip, chunked\r\n"), 501},
      {"identity coding", with("Transfer-Encoding: identity\r\n"), 501},
      {"space before the colon", with("Content-Length : 4\r\n"), 400},
      {"a folded line", with("X-A: b\r\n c\r\n"), 400},
      {"a folded first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
      {"bare LF between lines", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400},
      {"bare LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
      {"bare CR in a value", with("X-A: b\rc\r\n"), 400},
      {"NUL in a value", with(std::string("X-A: b\0c\r\n", 10)), 400},
      {"control character in a value", with("X-A: b\x01\r\n"), 400},
      {"no colon", with("X-A\r\n"), 400},
      {"an empty field name", with(": b\r\n"), 400},
      {"two hosts", with("Host: other\r\n"), 400},
      {"no host", "GET / HTTP/1.1\r\n\r\n", 400},
      {"a host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
      {"a host with user information", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400},
      {"target of another host", "GET http://evil/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"chunked in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"tab in the target", "GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"no version", "GET /\r\n\r\n", 400},
      {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\n", 505},
      {"odd version", "GET / HTTP/1.1x\r\nHost: a\r\n\r\n", 400},
      {"odd method", "G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"TLS hello", std::string("\x16\x03\x01\x00", 4), 400},
      {"unknown expectation", with("Expect: 200-ok\r\n"), 417},
      {"long target", "GET /" + std::string(caps::kTargetBytes, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
      {"endless request line", std::string(caps::kHeadBytes + 1, 'a'), 414},
      {"endless field", "GET / HTTP/1.1\r\nX: " + std::string(caps::kHeadBytes, 'a'), 431},
  };
  for (const Case& item : cases) {
    CAPTURE(item.name);
    CHECK(verdict(item.text) == item.status);
  }
}

TEST_CASE("too many fields are refused with 431") {
  std::string lines;
  for (std::size_t i = 0; i < caps::kHeaderCount + 1; ++i) lines += "x: y\r\n";
  CHECK(verdict(with(lines)) == 431);
}

TEST_CASE("an incomplete head waits at every length") {
  const std::string text = with("Content-Length: 4\r\n");
  for (std::size_t length = 0; length < text.size(); ++length) {
    CAPTURE(length);
    CHECK(verdict(text.substr(0, length)) == -1);
  }
}

TEST_CASE("a head that arrives byte by byte is found where it ends") {
  const std::string text = with("") + "body";
  HeadFinder finder;
  for (std::size_t length = 1; length <= text.size(); ++length) {
    const auto found = finder.find(std::string_view(text).substr(0, length));
    if (const auto* end = std::get_if<std::size_t>(&found)) {
      CHECK(*end == text.size() - 4);
      return;
    }
  }
  FAIL("never found");
}

TEST_CASE("keep-alive follows version and Connection") {
  CHECK(accepted("GET / HTTP/1.1\r\nHost: a\r\n\r\n").keep_alive);
  CHECK_FALSE(accepted("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n").keep_alive);
  CHECK_FALSE(accepted("GET / HTTP/1.0\r\n\r\n").keep_alive);
  CHECK(accepted("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keep_alive);
}

TEST_CASE("an absolute target that names the host is cut to its path") {
  CHECK(accepted("GET http://LocalHost:80/a?b HTTP/1.1\r\nHost: localhost:80\r\n\r\n").target == "/a?b");
  CHECK(accepted("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n").target == "/");
}

TEST_CASE("an expectation of 100-continue is noted, but not for HTTP/1.0") {
  CHECK(accepted(with("Expect: 100-Continue\r\n")).expect_continue);
  CHECK_FALSE(accepted("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expect_continue);
}
