// SPDX-License-Identifier: Apache-2.0
// The state directory: one engine at a time, 0700, a folder for each sandbox.
//
//   <state_dir>/lock                     held (flock) while an engine runs
//   <state_dir>/sandboxes/<id>/          record.toml, disk.img, sockets and logs of the backend
//   <state_dir>/initrd/                  composed initrds, by digest
#pragma once

#include <filesystem>

#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::engine {

// $SANDFORGE_STATE_DIR; else /var/lib/sandforge for root, $XDG_STATE_HOME/sandforge or ~/.local/state/sandforge. Empty
// when none can be told.
// Reads the environment.
std::filesystem::path default_state_dir();

// Creates the directory when it is missing and takes its lock; the descriptor holds it.
// Errors: conflict "state_dir_in_use", denied, internal.
base::Result<base::UniqueFd> lock_state_dir(const std::filesystem::path& directory);

// Removes what a killed predecessor left. Its guests died with it (their processes are bound to its life), so only
// files and empty control groups are left; taking over living guests comes with a later release. Answers how many there
// were.
base::Result<std::size_t> reap_state_dir(const std::filesystem::path& directory);

}  // namespace sandforge::engine
