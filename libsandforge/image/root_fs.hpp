// SPDX-License-Identifier: Apache-2.0
// The guest's root file system: bootstrapped from Debian packages, and written as EROFS with the same bytes each time.
#pragma once

#include <filesystem>

#include "base/result.hpp"
#include "image/apt_sources.hpp"
#include "image/recipe.hpp"
#include "image/tool.hpp"

namespace sandforge::image {

// The time of every file in a built image: 2023-11-14T22:13:20Z. A constant, so that images do not depend on the day.
inline constexpr long long kSourceDateEpoch = 1'700'000'000;

// The shell text that runs in the finished root: finish_root.sh, then what the recipe adds.
std::string finish_script(const Recipe& recipe);

enum class Times { Fixed, Kept };
// Writes a directory tree as EROFS: owners and modes as they are (all root's when the caller is not root), no extended
// attributes, not compressed. The same tree gives the same bytes. BLOCKS.
base::Status write_erofs(const std::filesystem::path& tree, const std::filesystem::path& image, Times times,
                         const Progress& progress);

// Bootstraps the recipe's root file system and writes it to `image`. Root does it directly, others in a user namespace
// (newuidmap and subordinate ids must be set up). BLOCKS for minutes. Errors: those of run_tool.
base::Status build_root(const Recipe& recipe, const AptSources& sources, const std::filesystem::path& temp,
                        const std::filesystem::path& image, const Progress& progress);

}  // namespace sandforge::image
