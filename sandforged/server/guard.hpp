// SPDX-License-Identifier: Apache-2.0
// Who may call: requests that a web page could forge are refused, and tokens are checked. Pure decisions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/message.hpp"

namespace sandforge::server {

// Where a connection came in.
enum class ListenerKind { Unix, Loopback, Remote };

// Bearer tokens, as a token file holds them: one a line, '#' begins a comment line.
struct Tokens {
  std::vector<std::string> values;
  bool contains(std::string_view token) const;  // takes the same time for every token of that length
};
// Throws InvalidArgument or an error with errno.
Tokens read_token_file(const std::string& path);

// "localhost", "127.x.y.z" or "[::1]", each with or without a port.
bool is_loopback_host(std::string_view host);

// The reply that refuses the request, or nothing. `tokens` may be null: none are required.
std::optional<Reply> check_caller(const Head& head, std::string_view path, ListenerKind kind, const Tokens* tokens);

}  // namespace sandforge::server
