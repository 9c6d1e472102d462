// SPDX-License-Identifier: Apache-2.0
// The HTTP daemon: everything `sandforged serve` does.
#pragma once

#include <sandforge/engine.hpp>

#include <string>
#include <vector>

#include "server/caps.hpp"

namespace sandforge::server {

struct ServeOptions {
  std::vector<std::string> listen;  // at least one
  std::string token_file;           // empty: no tokens
  EngineOptions engine;
  Limits limits;
  LogLevel log_level = LogLevel::Info;
};

// BLOCKS until SIGINT or SIGTERM, then destroys every sandbox and returns 0. Writes one line "READY listening=…" to
// standard output when it answers. Throws sandforge::Error when it cannot start.
int serve(const ServeOptions& options);

}  // namespace sandforge::server
