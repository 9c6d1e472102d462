// SPDX-License-Identifier: Apache-2.0
#include "server/chunked.hpp"

#include <algorithm>

#include "server/caps.hpp"

namespace sandforge::server {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

constexpr std::size_t kSizeDigitsMax = 12;  // far above any cap on bodies, far below overflow

}  // namespace

BodyDecoder::BodyDecoder(const Head& head) {
  switch (head.body) {
    case BodyKind::None: state_ = State::Done; break;
    case BodyKind::Length:
      state_ = State::Length;
      left_ = head.content_length;
      break;
    case BodyKind::Chunked: state_ = State::Size; break;
  }
}

BodyDecoder::Status BodyDecoder::feed(std::string_view& input, std::string& out, std::size_t limit) {
  while (state_ != State::Done && state_ != State::Bad) {
    if (input.empty()) return Status::NeedMore;
    if (state_ == State::Length || state_ == State::Data) {
      if (limit == 0) return Status::NeedMore;
      take_data(input, out, limit, state_ == State::Length ? State::Done : State::DataCr);
    } else {
      const char c = input.front();
      input.remove_prefix(1);
      state_ = step(c);
    }
  }
  return state_ == State::Done ? Status::Done : Status::Bad;
}

void BodyDecoder::take_data(std::string_view& input, std::string& out, std::size_t& limit, State next) {
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>({left_, input.size(), limit}));
  out.append(input.substr(0, count));
  input.remove_prefix(count);
  limit -= count;
  left_ -= count;
  if (left_ == 0) state_ = next;
}

// One byte of chunk framing:
//   Size -> (Extension ->) SizeLf -> Data -> DataCr -> DataLf -> Size …   a chunk of size 0: SizeLf -> Trailer lines
BodyDecoder::State BodyDecoder::step(char c) {
  switch (state_) {
    case State::Size: {
      const int digit = hex_value(c);
      if (digit >= 0) {
        if (++size_digits_ > kSizeDigitsMax) return State::Bad;
        left_ = left_ * 16 + static_cast<std::uint64_t>(digit);
        return State::Size;
      }
      if (size_digits_ == 0) return State::Bad;
      if (c == '\r') return State::SizeLf;
      return c == ';' ? State::Extension : State::Bad;
    }
    case State::Extension:
      if (c == '\r') return State::SizeLf;
      if (static_cast<unsigned char>(c) < 0x20 && c != '\t') return State::Bad;
      return ++extension_bytes_ > caps::kChunkExtensionBytes ? State::Bad : State::Extension;
    case State::SizeLf: return c == '\n' ? size_end() : State::Bad;
    case State::DataCr: return c == '\r' ? State::DataLf : State::Bad;
    case State::DataLf: return c == '\n' ? State::Size : State::Bad;
    case State::Trailer:  // read and dropped: nothing here uses trailers
      if (c == '\r') return State::TrailerLf;
      if (static_cast<unsigned char>(c) < 0x20 && c != '\t') return State::Bad;
      ++line_bytes_;
      return ++trailer_bytes_ > caps::kTrailerBytes ? State::Bad : State::Trailer;
    case State::TrailerLf:
      if (c != '\n') return State::Bad;
      if (line_bytes_ == 0) return State::Done;
      line_bytes_ = 0;
      return State::Trailer;
    default: return State::Bad;
  }
}

BodyDecoder::State BodyDecoder::size_end() {
  size_digits_ = 0;
  extension_bytes_ = 0;
  return left_ == 0 ? State::Trailer : State::Data;
}

}  // namespace sandforge::server
