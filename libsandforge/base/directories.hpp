// SPDX-License-Identifier: Apache-2.0
// Where the library keeps things when it is not told.
#pragma once

#include <filesystem>

namespace sandforge::base {

// The absolute path in an environment variable; empty where it is unset or relative.
std::filesystem::path path_from_environment(const char* name);

// /var/lib/sandforge for root, else $XDG_STATE_HOME/sandforge, else ~/.local/state/sandforge; empty where neither
// variable holds an absolute path. Reads the environment.
std::filesystem::path default_data_dir();

}  // namespace sandforge::base
