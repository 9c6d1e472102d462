// SPDX-License-Identifier: Apache-2.0
#include "server/url.hpp"

#include "server/caps.hpp"

namespace sandforge::server {
namespace {

bool is_alnum(char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }
bool is_unreserved(char c) { return is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~'; }

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The byte that "%XY" at `at` stands for, -1 when there is no such escape.
int escape_at(std::string_view text, std::size_t at) {
  if (text.size() - at < 3) return -1;
  const int high = hex_value(text[at + 1]);
  const int low = hex_value(text[at + 2]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

std::string decode_query(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out += ' ';
    } else if (const int byte = text[i] == '%' ? escape_at(text, i) : -1; byte >= 0) {
      out += static_cast<char>(byte);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

bool has_bad_segment(std::string_view path) {
  std::size_t begin = 1;
  while (begin < path.size()) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view segment = path.substr(begin, end - begin);
    if (segment.empty() || segment == "." || segment == "..") return true;
    begin = end + 1;
  }
  return false;
}

}  // namespace

std::optional<Target> parse_target(std::string_view target) {
  Target result;
  const std::size_t mark = target.find('?');
  const std::string_view path = target.substr(0, mark);
  if (mark != std::string_view::npos) result.query = target.substr(mark + 1);
  if (path.empty() || path[0] != '/' || path.size() > caps::kPathBytes) return std::nullopt;
  for (std::size_t i = 0; i < path.size(); ++i) {
    char c = path[i];
    if (c == '%') {
      const int byte = escape_at(path, i);
      if (byte < 0 || !is_unreserved(static_cast<char>(byte))) return std::nullopt;
      c = static_cast<char>(byte);
      i += 2;
    } else if (c != '/' && !is_unreserved(c)) {
      return std::nullopt;
    }
    result.path += c;
  }
  if (has_bad_segment(result.path)) return std::nullopt;
  return result;
}

Query::Query(std::string_view raw) {
  while (!raw.empty()) {
    const std::size_t end = std::min(raw.find('&'), raw.size());
    const std::string_view pair = raw.substr(0, end);
    const std::size_t equals = std::min(pair.find('='), pair.size());
    if (!pair.empty()) {
      pairs_.emplace_back(decode_query(pair.substr(0, equals)),
                          equals < pair.size() ? decode_query(pair.substr(equals + 1)) : std::string());
    }
    raw.remove_prefix(end < raw.size() ? end + 1 : end);
  }
}

const std::string* Query::find(std::string_view name) const {
  for (const auto& [key, value] : pairs_) {
    if (key == name) return &value;
  }
  return nullptr;
}

bool Query::flag(std::string_view name) const {
  const std::string* value = find(name);
  return value != nullptr && (value->empty() || *value == "1" || *value == "true");
}

bool is_valid_id(std::string_view id) {
  if (id.empty() || id.size() > 128 || !is_alnum(id[0])) return false;
  for (const char c : id) {
    if (!is_alnum(c) && c != '_' && c != '.' && c != '-') return false;
  }
  return true;
}

}  // namespace sandforge::server
