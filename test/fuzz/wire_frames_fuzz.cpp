// SPDX-License-Identifier: Apache-2.0
// Bytes of a peer into the frame parser, cut at places that the input chooses, and every payload into every message's
// decoder. What decodes must encode to the same bytes.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "wire/frames.hpp"
#include "wire/messages.hpp"

namespace {

using namespace sandforge;

void check(bool condition) {
  if (!condition) std::abort();
}

template <typename Message>
void try_decode(std::string_view payload) {
  const auto message = wire::decode<Message>(payload);
  if (message) check(wire::encode(message.value()) == payload);
}

void try_all(std::string_view payload) {
  try_decode<wire::Hello>(payload);
  try_decode<wire::Welcome>(payload);
  try_decode<wire::ExecRequest>(payload);
  try_decode<wire::Started>(payload);
  try_decode<wire::ExecResult>(payload);
  try_decode<wire::FileInfo>(payload);
  try_decode<wire::PathRequest>(payload);
  try_decode<wire::FileReadRequest>(payload);
  try_decode<wire::FileWriteRequest>(payload);
  try_decode<wire::RenameRequest>(payload);
  try_decode<wire::ClockRequest>(payload);
  try_decode<wire::EntropyRequest>(payload);
  try_decode<wire::IdentityRequest>(payload);
  try_decode<wire::ResultHeader>(payload);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  // SAFETY: any bytes may be looked at as char.
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::size_t piece = data[0] + std::size_t{1};

  wire::FrameParser parser;
  std::string again;  // the frames written anew: a prefix of the input
  bool broken = false;
  for (std::size_t at = 0; at < bytes.size() && !broken; at += piece) {
    parser.feed(bytes.substr(at, piece));
    while (true) {
      const auto next = parser.next();
      broken = !next;
      if (broken || !next.value().has_frame) break;
      const auto& [header, payload] = next.value().frame;
      check(payload.size() <= wire::payload_cap(header.type));
      wire::append_frame(again, header.type, header.flags, header.stream, payload);
      if (header.type == wire::FrameType::Open) {
        if (const auto open = wire::decode_open(payload)) try_all(open.value().request);
      }
      try_all(payload);
    }
  }
  check(bytes.substr(0, again.size()) == again);
  try_all(bytes);
  return 0;
}
