// SPDX-License-Identifier: Apache-2.0
#include "server/chunked.hpp"

#include <doctest/doctest.h>

#include <string>

#include "server/caps.hpp"

using namespace sandforge::server;
using Status = BodyDecoder::Status;

namespace {

BodyDecoder chunked() {
  Head head;
  head.body = BodyKind::Chunked;
  return BodyDecoder(head);
}

struct Outcome {
  Status status;
  std::string body;
  std::string rest;
};
Outcome decode(const std::string& text) {
  BodyDecoder decoder = chunked();
  std::string_view input = text;
  std::string body;
  const Status status = decoder.feed(input, body);
  return {status, body, std::string(input)};
}

}  // namespace

TEST_CASE("chunks are joined and what follows them is left") {
  const Outcome outcome = decode("4\r\nwiki\r\nA;name=value\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nGET /");
  CHECK(outcome.status == Status::Done);
  CHECK(outcome.body == "wiki0123456789");
  CHECK(outcome.rest == "GET /");
}

TEST_CASE("a body that arrives byte by byte is the same body") {
  const std::string text = "4\r\nwiki\r\n3\r\na\r\n\r\n0\r\n\r\n";
  BodyDecoder decoder = chunked();
  std::string body;
  Status status = Status::NeedMore;
  for (const char c : text) {
    CHECK(status == Status::NeedMore);
    std::string_view input(&c, 1);
    status = decoder.feed(input, body);
  }
  CHECK(status == Status::Done);
  CHECK(body == "wikia\r\n");
}

TEST_CASE("malformed chunk framing is refused") {
  for (const std::string& text : {
           std::string("\r\n"),
           std::string("g\r\n"),
           std::string(" 4\r\nwiki\r\n"),
           std::string("4\nwiki"),
           std::string("4\r\nwikiX"),
           std::string("4\r\nwiki\rX"),
           std::string("-1\r\n"),
           std::string("0x4\r\n"),
           std::string("4 \r\nwiki"),
           std::string("fffffffffffffffff\r\n"),
           std::string("0\r\n\n"),
           "4;" + std::string(caps::kChunkExtensionBytes + 1, 'x'),
           "0\r\n" + std::string(caps::kTrailerBytes + 1, 'x'),
           std::string("4;a\nb\r\n"),
       }) {
    CAPTURE(text.substr(0, 20));
    CHECK(decode(text).status == Status::Bad);
  }
}

TEST_CASE("the limit bounds what one call decodes and loses nothing") {
  BodyDecoder decoder = chunked();
  const std::string text = "a\r\n0123456789\r\n0\r\n\r\n";
  std::string_view input = text;
  std::string body;
  CHECK(decoder.feed(input, body, 4) == Status::NeedMore);
  CHECK(body == "0123");
  CHECK(decoder.feed(input, body, 100) == Status::Done);
  CHECK(body == "0123456789");
}

TEST_CASE("a body by length ends at its length") {
  Head head;
  head.body = BodyKind::Length;
  head.content_length = 5;
  BodyDecoder decoder(head);
  std::string_view input = "abc";
  std::string body;
  CHECK(decoder.feed(input, body) == Status::NeedMore);
  input = "deNEXT";
  CHECK(decoder.feed(input, body) == Status::Done);
  CHECK(body == "abcde");
  CHECK(input == "NEXT");
}

TEST_CASE("a head without a body is done at once") { CHECK(BodyDecoder(Head{}).done()); }
