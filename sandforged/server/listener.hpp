// SPDX-License-Identifier: Apache-2.0
// Listening sockets: ADDR:PORT (numeric IPv4, [IPv6] or localhost) and unix:PATH.
#pragma once

#include <string>

#include "server/fd.hpp"
#include "server/guard.hpp"

namespace sandforge::server {

struct Listener {
  Fd fd;  // listening, non-blocking, close-on-exec
  ListenerKind kind = ListenerKind::Loopback;
  std::string display;    // "http://127.0.0.1:8080", "unix:/run/sandforge.sock"
  std::string unix_path;  // to be removed at the end, or empty
};

// Throws InvalidArgument for an address that makes no sense, Denied for one that would need tokens, Conflict for one
// that is in use, Internal otherwise. A socket file that nobody answers on any more is replaced.
Listener open_listener(const std::string& address, bool has_tokens);

}  // namespace sandforge::server
