// SPDX-License-Identifier: Apache-2.0
// The request head: found in the byte stream, parsed strictly (RFC 9112), body framing decided. No I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace sandforge::server {

enum class BodyKind { None, Length, Chunked };

struct Head {
  std::string method;
  std::string target;  // origin-form; an absolute-form target was checked against Host and cut
  int minor = 1;       // of HTTP/1.x: 0 or 1
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case, values trimmed
  std::string host;
  bool keep_alive = true;
  bool expect_continue = false;
  BodyKind body = BodyKind::None;
  std::uint64_t content_length = 0;  // BodyKind::Length

  // The first value of that (lower-case) name.
  const std::string* find(std::string_view name) const;
};

// Why a head was refused. The connection cannot be used any further.
struct HeadError {
  int status = 400;
  std::string message;
};

// Where the head ends in a growing buffer. `scanned` is kept between calls, so that no byte is looked at twice.
class HeadFinder {
 public:
  // The length of the head with its last CRLF, nothing while it is incomplete, or an error as soon as no continuation
  // can be right (bare LF, too long).
  std::variant<std::monostate, std::size_t, HeadError> find(std::string_view buffer);

 private:
  std::size_t scanned_ = 0;
};

// `text` is what HeadFinder delimited.
std::variant<Head, HeadError> parse_head(std::string_view text);

}  // namespace sandforge::server
