// SPDX-License-Identifier: Apache-2.0
// The request target: its path brought into one form before routing, and its query.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sandforge::server {

struct Target {
  std::string path;   // begins with '/', only unreserved characters and '/', no empty, "." or ".." segment
  std::string query;  // raw, without '?'
};
// Origin-form only. Escapes of unreserved characters are undone; any other escape or character in the path (%2f, %00,
// …) can belong to no route and no id, so the answer is empty: 400.
std::optional<Target> parse_target(std::string_view target);

// The pairs of a query in order. Lenient, for clients that escape badly: '+' is a space, a '%' that begins no escape
// is itself, a pair without '=' has an empty value.
class Query {
 public:
  explicit Query(std::string_view raw);
  // The first value of that name.
  const std::string* find(std::string_view name) const;
  // "1", "true" and the empty value.
  bool flag(std::string_view name) const;

 private:
  std::vector<std::pair<std::string, std::string>> pairs_;
};

// [A-Za-z0-9][A-Za-z0-9_.-]{0,127}
bool is_valid_id(std::string_view id);

}  // namespace sandforge::server
