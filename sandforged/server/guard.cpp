// SPDX-License-Identifier: Apache-2.0
#include "server/guard.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>

namespace sandforge::server {
namespace {

constexpr std::size_t kTokenMin = 16;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

bool is_port(std::string_view text) {
  return !text.empty() && text.size() <= 5 && text.find_first_not_of("0123456789") == text.npos;
}

// 127.0.0.0/8 in dotted decimal with four parts and no leading zeros: the only form that all resolvers read alike.
bool is_loopback_v4(std::string_view text) {
  int parts = 0;
  while (parts < 4) {
    const std::size_t end = std::min(text.find('.'), text.size());
    const std::string_view part = text.substr(0, end);
    unsigned value = 256;
    const auto result = std::from_chars(part.data(), part.data() + part.size(), value);
    if (result.ec != std::errc() || result.ptr != part.data() + part.size() || value > 255) return false;
    if ((part.size() > 1 && part[0] == '0') || (parts == 0 && value != 127)) return false;
    ++parts;
    if (end == text.size()) return parts == 4;
    text.remove_prefix(end + 1);
  }
  return false;
}

bool same_bytes(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned char>(a[i] ^ b[i]);
  return difference == 0;
}

std::optional<Reply> check_token(const Head& head, const Tokens& tokens) {
  constexpr std::string_view kScheme = "bearer ";
  const std::string* header = head.find("authorization");
  if (header != nullptr && lower(header->substr(0, kScheme.size())) == kScheme &&
      tokens.contains(std::string_view(*header).substr(kScheme.size()))) {
    return std::nullopt;
  }
  Reply reply = error_reply(401, "unauthorized", "a valid token is required",
                            "send 'Authorization: Bearer TOKEN' with a token of the server's token file");
  reply.headers.emplace_back("WWW-Authenticate", "Bearer");
  return reply;
}

}  // namespace

bool Tokens::contains(std::string_view token) const {
  bool found = false;
  for (const std::string& value : values) found = same_bytes(value, token) || found;
  return found;
}

Tokens read_token_file(const std::string& path) {
  std::ifstream file(path);
  if (!file) {
    throw InvalidArgument("token_file", "cannot read token file '" + path + "': " + std::strerror(errno),
                          "create it with one token a line, readable by the daemon alone (mode 0600)", errno);
  }
  Tokens tokens;
  std::string line;
  while (std::getline(file, line)) {
    while (!line.empty() && (line.back() == ' ' || line.back() == '\r' || line.back() == '\t')) line.pop_back();
    if (line.empty() || line[0] == '#') continue;
    if (line.size() < kTokenMin) {
      throw InvalidArgument("token_file", "token file '" + path + "' has a token of less than 16 characters",
                            "use long random tokens, e.g. of: head -c 24 /dev/urandom | base64");
    }
    tokens.values.push_back(line);
  }
  if (tokens.values.empty()) {
    throw InvalidArgument("token_file", "token file '" + path + "' holds no token", "put one token on each line");
  }
  return tokens;
}

bool is_loopback_host(std::string_view host) {
  std::string_view name = host;
  if (host.starts_with("[")) {
    const std::size_t end = host.find(']');
    if (end == host.npos) return false;
    const std::string_view rest = host.substr(end + 1);
    return host.substr(0, end + 1) == "[::1]" && (rest.empty() || (rest[0] == ':' && is_port(rest.substr(1))));
  }
  if (const std::size_t colon = host.find(':'); colon != host.npos) {
    if (!is_port(host.substr(colon + 1))) return false;
    name = host.substr(0, colon);
  }
  const std::string folded = lower(name);
  return folded == "localhost" || folded == "localhost." || is_loopback_v4(folded);
}

std::optional<Reply> check_caller(const Head& head, std::string_view path, ListenerKind kind, const Tokens* tokens) {
  // A page that rebinds its own name to 127.0.0.1 sends that name as Host.
  if (kind == ListenerKind::Loopback && !head.host.empty() && !is_loopback_host(head.host)) {
    return error_reply(403, "foreign_host", "this server answers only to loopback names, not to '" + head.host + "'",
                       "use http://127.0.0.1 or http://localhost");
  }
  for (const auto& [name, value] : head.headers) {
    if (name != "origin" && name != "sec-fetch-site") continue;
    const bool same = name == "origin" ? kind != ListenerKind::Unix && lower(value) == "http://" + lower(head.host)
                                       : value == "same-origin" || value == "none";
    if (!same) {
      return error_reply(403, "foreign_origin", "requests from web pages of another origin are refused",
                         "call the API from a program, not from a web page");
    }
  }
  if (tokens != nullptr && kind != ListenerKind::Unix && path != "/healthz") return check_token(head, *tokens);
  return std::nullopt;
}

}  // namespace sandforge::server
