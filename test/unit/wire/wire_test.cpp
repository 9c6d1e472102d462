// SPDX-License-Identifier: Apache-2.0
// Round trips, truncation and bit flips of frames and messages.
#include <doctest/doctest.h>

#include <random>

#include "wire/frames.hpp"
#include "wire/messages.hpp"

using namespace sandforge;
using namespace sandforge::wire;

namespace {
ExecRequest sample_exec() {
  ExecRequest request;
  request.argv = {"sh", "-c", "echo \xff"};
  request.env = {"A=1", "B="};
  request.cwd = "/tmp";
  request.isolation = TaskIsolation::Process;
  request.timeout_ms = 1500;
  return request;
}
}  // namespace

TEST_CASE("a message comes back as it was encoded") {
  const auto decoded = decode<ExecRequest>(encode(sample_exec()));
  REQUIRE(decoded);
  CHECK(decoded.value().argv == sample_exec().argv);
  CHECK(decoded.value().env == sample_exec().env);
  CHECK(decoded.value().isolation == TaskIsolation::Process);
  CHECK(decoded.value().timeout_ms == 1500);
}

TEST_CASE("every truncation of a message and every tail is refused") {
  const std::string bytes = encode(sample_exec());
  for (std::size_t n = 0; n < bytes.size(); ++n) CHECK_FALSE(decode<ExecRequest>(bytes.substr(0, n)));
  CHECK_FALSE(decode<ExecRequest>(bytes + '\0'));
}

TEST_CASE("a bit flip never reads out of bounds and either decodes or is refused") {
  const std::string bytes = encode(sample_exec());
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    const auto decoded = decode<ExecRequest>(flipped);
    if (decoded) CHECK(encode(decoded.value()) == flipped);
  }
}

TEST_CASE("frames split anywhere come out whole and in order") {
  std::string bytes;
  append_frame(bytes, FrameType::Data, kStdout, 7, "hello");
  append_frame(bytes, FrameType::End, kStderr, 7, "");
  append_frame(bytes, FrameType::Data, kStdout, 9, std::string(limits::kFramePayloadMax, 'x'));
  std::mt19937 random(1);
  for (int round = 0; round < 50; ++round) {
    FrameParser parser;
    std::vector<std::size_t> lengths;
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t piece = std::min<std::size_t>(1 + random() % 9000, bytes.size() - at);
      parser.feed(std::string_view(bytes).substr(at, piece));
      at += piece;
      for (auto next = parser.next(); next && next->has_frame; next = parser.next()) {
        lengths.push_back(next->frame.payload.size());
      }
    }
    CHECK(lengths == std::vector<std::size_t>{5, 0, limits::kFramePayloadMax});
  }
}

TEST_CASE("a broken header is an error that sticks") {
  const std::string good = [] {
    std::string bytes;
    append_frame(bytes, FrameType::Credit, kStdout, 1, std::string(4, '\1'));
    return bytes;
  }();
  const auto refused = [&](std::size_t at, unsigned char value) {
    std::string bytes = good;
    bytes[at] = static_cast<char>(value);
    FrameParser parser;
    parser.feed(bytes);
    const bool first = !parser.next();
    parser.feed(good);
    return first && !parser.next();
  };
  CHECK(refused(0, 5));     // over the cap of its type
  CHECK(refused(3, 0x80));  // length 2^31
  CHECK(refused(4, 0));     // no such type
  CHECK(refused(4, 13));
  CHECK(refused(5, 3));  // no such channel
  CHECK(refused(6, 1));  // reserved
}

TEST_CASE("an unknown operation is told apart from a malformed one") {
  CHECK(decode_open("").error().code == base::Code::Corrupt);
  CHECK(decode_open(std::string("\xff\x7f", 2)).error().code == base::Code::Unsupported);
  CHECK(decode_open(encode_open(Operation::FileStat, PathRequest{"/", 0, 0})).value().operation == Operation::FileStat);
}
