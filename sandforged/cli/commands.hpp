// SPDX-License-Identifier: Apache-2.0
// The subcommands: each takes the words after its name and answers the exit status. They throw UsageError and
// sandforge::Error; main prints both.
#pragma once

#include <sandforge/engine.hpp>

#include <string>
#include <vector>

#include "cli/args.hpp"

namespace sandforge::cli {

using Words = std::vector<std::string>;

int serve(const Words& words);
int run(const Words& words);
int image(const Words& words);
int policy(const Words& words);
int doctor(const Words& words);
int version(const Words& words);

// Flags that serve, run, policy and doctor share: --state-dir, --image-dir, --helper-dir, --min-isolation, --policy.
std::vector<Flag> engine_flags();
EngineOptions engine_options(const Args& args);
// The policy file that applies when none is named; "" when there is none. Reads the environment.
std::string default_policy_file();

// "error", "warn", "info", "debug". Throws UsageError.
LogLevel parse_log_level(const std::string& text);

// Writes all of it to standard output; false when that is closed.
bool print(std::string_view text);
// "sandforged: message" and the remedy, to standard error.
void print_error(const std::exception& error);

}  // namespace sandforge::cli
