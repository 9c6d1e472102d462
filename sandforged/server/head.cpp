// SPDX-License-Identifier: Apache-2.0
#include "server/head.hpp"

#include <algorithm>
#include <limits>

#include "server/caps.hpp"

namespace sandforge::server {
namespace {

bool is_alnum(char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

// SPEC: RFC 9110, 5.6.2
bool is_token(std::string_view text) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [&](char c) { return is_alnum(c) || kMarks.find(c) != kMarks.npos; });
}

bool has_control(std::string_view text, bool tab_is_fine) {
  return std::any_of(text.begin(), text.end(), [&](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && !(tab_is_fine && c == '\t')) || byte == 0x7F;
  });
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::string_view trim(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::optional<HeadError> parse_request_line(std::string_view line, Head& head) {
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == line.npos || last == first) return HeadError{400, "malformed request line"};
  head.method = line.substr(0, first);
  head.target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (!is_token(head.method) || head.method.size() > 32) return HeadError{400, "malformed request method"};
  if (head.target.size() > caps::kTargetBytes) return HeadError{414, "request target too long"};
  if (head.target.empty() || head.target.find(' ') != std::string::npos || has_control(head.target, false)) {
    return HeadError{400, "malformed request target"};
  }
  if (version == "HTTP/1.1") {
    head.minor = 1;
  } else if (version == "HTTP/1.0") {
    head.minor = 0;
  } else if (version.size() == 8 && version.starts_with("HTTP/")) {
    return HeadError{505, "HTTP version not supported: this server speaks HTTP/1.1 and HTTP/1.0"};
  } else {
    return HeadError{400, "malformed HTTP version"};
  }
  return std::nullopt;
}

std::optional<HeadError> parse_field(std::string_view line, Head& head) {
  if (line.front() == ' ' || line.front() == '\t') return HeadError{400, "folded header lines are not accepted"};
  if (head.headers.size() == caps::kHeaderCount) return HeadError{431, "too many header fields"};
  const std::size_t colon = line.find(':');
  if (colon == line.npos || !is_token(line.substr(0, colon))) return HeadError{400, "malformed header field name"};
  const std::string_view value = trim(line.substr(colon + 1));
  if (has_control(value, true)) return HeadError{400, "control character in a header field"};
  head.headers.emplace_back(lower(line.substr(0, colon)), std::string(value));
  return std::nullopt;
}

// The only value of `name`; an error when it occurs twice (even equal values: proxies disagree on which counts).
struct Single {
  const std::string* value = nullptr;
  bool twice = false;
};
Single single(const Head& head, std::string_view name) {
  Single result;
  for (const auto& [key, value] : head.headers) {
    if (key != name) continue;
    result.twice = result.value != nullptr;
    result.value = &value;
    if (result.twice) break;
  }
  return result;
}

std::optional<HeadError> settle_host(Head& head) {
  const Single host = single(head, "host");
  if (host.twice) return HeadError{400, "more than one Host header"};
  if (host.value == nullptr) {
    if (head.minor == 1) return HeadError{400, "missing Host header"};
  } else {
    head.host = *host.value;
    constexpr std::string_view kMarks = "-._~:[]%";
    if (!std::all_of(head.host.begin(), head.host.end(),
                     [&](char c) { return is_alnum(c) || kMarks.find(c) != kMarks.npos; })) {
      return HeadError{400, "malformed Host header"};
    }
  }
  constexpr std::string_view kScheme = "http://";
  if (lower(head.target.substr(0, kScheme.size())) == kScheme) {
    const std::size_t slash = std::min(head.target.find_first_of("/?", kScheme.size()), head.target.size());
    const std::string authority = head.target.substr(kScheme.size(), slash - kScheme.size());
    if (host.value == nullptr || lower(authority) != lower(head.host)) {
      return HeadError{400, "the request target names another host than the Host header"};
    }
    head.target = head.target.substr(slash);
    if (head.target.empty() || head.target[0] != '/') head.target.insert(0, "/");
  }
  return std::nullopt;
}

std::optional<HeadError> settle_body(Head& head) {
  const Single length = single(head, "content-length");
  const Single coding = single(head, "transfer-encoding");
  if (length.twice) return HeadError{400, "more than one Content-Length header"};
  if (coding.twice) return HeadError{400, "more than one Transfer-Encoding header"};
  if (length.value != nullptr && coding.value != nullptr) {
    return HeadError{400, "both Content-Length and Transfer-Encoding"};
  }
  if (coding.value != nullptr) {
    if (head.minor == 0) return HeadError{400, "Transfer-Encoding in an HTTP/1.0 request"};
    if (lower(*coding.value) != "chunked") return HeadError{501, "the only transfer coding supported is chunked"};
    head.body = BodyKind::Chunked;
  } else if (length.value != nullptr) {
    const std::string& digits = *length.value;
    if (digits.empty() || digits.find_first_not_of("0123456789") != std::string::npos) {
      return HeadError{400, "malformed Content-Length header"};
    }
    if (digits.size() > 18) return HeadError{413, "request body too large"};
    for (const char c : digits) head.content_length = head.content_length * 10 + static_cast<std::uint64_t>(c - '0');
    head.body = head.content_length > 0 ? BodyKind::Length : BodyKind::None;
  }
  return std::nullopt;
}

std::optional<HeadError> settle_connection(Head& head) {
  bool close = false;
  bool keep = false;
  for (const auto& [key, value] : head.headers) {
    if (key == "connection") {
      std::string_view rest = value;
      while (!rest.empty()) {
        const std::size_t end = std::min(rest.find(','), rest.size());
        const std::string option = lower(trim(rest.substr(0, end)));
        close = close || option == "close";
        keep = keep || option == "keep-alive";
        rest.remove_prefix(end < rest.size() ? end + 1 : end);
      }
    } else if (key == "expect") {
      if (lower(value) != "100-continue") return HeadError{417, "the only expectation supported is 100-continue"};
      head.expect_continue = head.minor == 1;
    }
  }
  head.keep_alive = !close && (head.minor == 1 || keep);
  return std::nullopt;
}

}  // namespace

const std::string* Head::find(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return &value;
  }
  return nullptr;
}

std::variant<std::monostate, std::size_t, HeadError> HeadFinder::find(std::string_view buffer) {
  for (; scanned_ < buffer.size(); ++scanned_) {
    if (scanned_ >= caps::kHeadBytes) {
      const bool in_request_line = buffer.substr(0, scanned_).find('\n') == buffer.npos;
      if (in_request_line) return HeadError{414, "request target too long"};
      return HeadError{431, "request head too large"};
    }
    const char c = buffer[scanned_];
    if (c == '\0') return HeadError{400, "NUL byte in the request head"};
    if (c != '\n') continue;
    if (scanned_ == 0 || buffer[scanned_ - 1] != '\r')
      return HeadError{400, "line of the request head ends without CR"};
    if (scanned_ >= 3 && buffer.substr(scanned_ - 3, 4) == "\r\n\r\n") return scanned_ + 1;
  }
  return std::monostate{};
}

std::variant<Head, HeadError> parse_head(std::string_view text) {
  Head head;
  bool first = true;
  while (!text.empty()) {
    const std::size_t end = text.find("\r\n");
    if (end == text.npos) return HeadError{400, "malformed request head"};
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 2);
    if (line.empty() && !first) break;
    const auto error = first ? parse_request_line(line, head) : parse_field(line, head);
    if (error) return *error;
    first = false;
  }
  if (first || !text.empty()) return HeadError{400, "malformed request head"};
  for (const auto settle : {settle_host, settle_body, settle_connection}) {
    if (auto error = settle(head)) return *std::move(error);
  }
  return head;
}

}  // namespace sandforge::server
