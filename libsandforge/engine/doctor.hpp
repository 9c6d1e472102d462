// SPDX-License-Identifier: Apache-2.0
// Doctor: what this host can do, check by check, each with its remedy. Changes nothing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/engine.hpp"

namespace sandforge::engine {

// Numbers are those of sandforge_check.status.
enum class CheckStatus : std::uint32_t { Fine = 0, CouldBeBetter = 1, StopsSandboxes = 2 };

struct Check {
  std::string name;
  CheckStatus status = CheckStatus::Fine;
  std::string detail, remedy;
};

// In the order in which one would repair things. Reads the environment; starts no guest, but probes may run a
// program's `--version`. BLOCKS for a few milliseconds.
std::vector<Check> examine_host(const EngineOptions& options);

}  // namespace sandforge::engine
