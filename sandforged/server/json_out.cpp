// SPDX-License-Identifier: Apache-2.0
#include "server/json_out.hpp"

#include <array>
#include <charconv>

#include "server/base64.hpp"

namespace sandforge::server {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

struct Sequence {
  std::size_t length = 1;  // bytes taken
  bool valid = false;
};

bool in_range(unsigned char byte, unsigned low, unsigned high) { return byte >= low && byte <= high; }

// One UTF-8 sequence at the start of `bytes` (not ASCII), by table 3-7 of the Unicode standard. An ill-formed one
// is as long as its longest prefix that could have begun a character.
Sequence sequence_at(std::string_view bytes) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char lead = at(0);
  std::size_t want = 0;
  unsigned low = 0x80;
  unsigned high = 0xBF;
  if (in_range(lead, 0xC2, 0xDF)) {
    want = 2;
  } else if (in_range(lead, 0xE0, 0xEF)) {
    want = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;  // surrogates
  } else if (in_range(lead, 0xF0, 0xF4)) {
    want = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {1, false};
  }
  std::size_t length = 1;
  while (length < want && length < bytes.size() && in_range(at(length), low, high)) {
    ++length;
    low = 0x80;
    high = 0xBF;
  }
  return {length, length == want};
}

void append_escaped(std::string& out, char c) {
  constexpr std::string_view kHex = "0123456789abcdef";
  switch (c) {
    case '"': out += "\\\""; return;
    case '\\': out += "\\\\"; return;
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    default: break;
  }
  const auto byte = static_cast<unsigned char>(c);
  if (byte >= 0x20 && byte != 0x7F) {
    out += c;
    return;
  }
  out += "\\u00";
  out += kHex[byte >> 4];
  out += kHex[byte & 15];
}

bool is_plain(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 && byte < 0x7F && c != '"' && c != '\\';
}

}  // namespace

void append_utf8(std::string& out, std::string_view bytes, bool escape) {
  std::size_t i = 0;
  while (i < bytes.size()) {
    std::size_t run = i;
    while (run < bytes.size() && is_plain(bytes[run])) ++run;
    out.append(bytes, i, run - i);
    i = run;
    if (i == bytes.size()) break;
    if (static_cast<unsigned char>(bytes[i]) < 0x80) {
      if (escape) {
        append_escaped(out, bytes[i]);
      } else {
        out += bytes[i];
      }
      ++i;
      continue;
    }
    const Sequence sequence = sequence_at(bytes.substr(i));
    out += sequence.valid ? bytes.substr(i, sequence.length) : kReplacement;
    i += sequence.length;
  }
}

JsonWriter& JsonWriter::open(char bracket) {
  comma();
  out_ += bracket;
  need_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::close(char bracket) {
  out_ += bracket;
  need_comma_ = true;
  return *this;
}

void JsonWriter::comma() {
  if (need_comma_) out_ += ',';
  need_comma_ = true;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  text(name);
  out_ += ':';
  need_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::text(std::string_view value) {
  comma();
  out_ += '"';
  append_utf8(out_, value, true);
  out_ += '"';
  return *this;
}

JsonWriter& JsonWriter::integer(std::int64_t value) {
  comma();
  std::array<char, 24> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  out_.append(digits.data(), end);
  return *this;
}

JsonWriter& JsonWriter::unsigned_integer(std::uint64_t value) {
  comma();
  std::array<char, 24> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  out_.append(digits.data(), end);
  return *this;
}

JsonWriter& JsonWriter::boolean(bool value) {
  comma();
  out_ += value ? "true" : "false";
  return *this;
}

JsonWriter& JsonWriter::byte_array(std::string_view bytes) {
  comma();
  out_.reserve(out_.size() + bytes.size() * 4 + 2);
  out_ += '[';
  std::array<char, 4> digits{};
  bool first = true;
  for (const char c : bytes) {
    if (!first) out_ += ',';
    first = false;
    const auto value = static_cast<unsigned>(static_cast<unsigned char>(c));
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    out_.append(digits.data(), end);
  }
  out_ += ']';
  return *this;
}

JsonWriter& JsonWriter::base64(std::string_view bytes) {
  comma();
  out_ += '"';
  append_base64(out_, bytes);
  out_ += '"';
  return *this;
}

std::string JsonWriter::take() {
  out_ += '\n';
  return std::move(out_);
}

}  // namespace sandforge::server
