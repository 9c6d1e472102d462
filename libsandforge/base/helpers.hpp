// SPDX-License-Identifier: Apache-2.0
// Where the library's helper programs are: a build tree, a wheel and an installed package all work unconfigured.
#pragma once

#include <filesystem>
#include <string_view>

#include "base/result.hpp"

namespace sandforge::base {

// Looks for `name` in `helper_dir` (and there only, when it is given), then $SANDFORGE_HELPER_DIR, next to the library
// file (its own folder, and `agent/`, `fsd/` and `vmm/` below it as in a build tree), and the compiled-in prefix. Reads
// the environment.
// Errors: not_found "helper_missing" naming every place that was looked at.
Result<std::filesystem::path> find_helper(std::string_view name, const std::filesystem::path& helper_dir);

}  // namespace sandforge::base
