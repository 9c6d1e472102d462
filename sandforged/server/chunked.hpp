// SPDX-License-Identifier: Apache-2.0
// Decoders of a request body: by length, or chunked (RFC 9112, section 7.1). Fed as bytes arrive; no I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "server/head.hpp"

namespace sandforge::server {

class BodyDecoder {
 public:
  enum class Status { NeedMore, Done, Bad };

  BodyDecoder() = default;
  explicit BodyDecoder(const Head& head);

  // Takes from the front of `input` what belongs to the body and appends the decoded bytes to `out`. Stops after at
  // most `limit` decoded bytes, so that a caller can bound `out`. What follows the body stays in `input`.
  Status feed(std::string_view& input, std::string& out, std::size_t limit = SIZE_MAX);
  bool done() const { return state_ == State::Done; }

 private:
  enum class State { Length, Size, Extension, SizeLf, Data, DataCr, DataLf, Trailer, TrailerLf, Done, Bad };

  void take_data(std::string_view& input, std::string& out, std::size_t& limit, State next);
  State step(char c);
  State size_end();

  State state_ = State::Done;
  std::uint64_t left_ = 0;  // of the body (by length), or of the chunk
  std::size_t size_digits_ = 0;
  std::size_t extension_bytes_ = 0;
  std::size_t trailer_bytes_ = 0;
  std::size_t line_bytes_ = 0;  // of the current trailer line
};

}  // namespace sandforge::server
