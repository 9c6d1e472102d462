// SPDX-License-Identifier: Apache-2.0
// Where Debian packages are downloaded from: the recipe's mirrors, or what the building host's own apt uses.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "image/recipe.hpp"

namespace sandforge::image {

// Sources in apt's two spellings, each for a file of its own.
struct AptSources {
  std::string one_line;  // of a .list file
  std::string deb822;    // of a .sources file
  bool empty() const noexcept { return one_line.empty() && deb822.empty(); }
};

// What a file of apt says about `suite`, its updates and its security suite, component main only. Other suites,
// components, source packages, disabled entries and what cannot be understood are left out.
AptSources select_one_line(std::string_view list, std::string_view suite);
AptSources select_deb822(std::string_view sources, std::string_view suite);

// The sources to build `recipe` from. `apt_dir` is /etc/apt; a parameter for tests.
// Error: unsupported "no_package_source".
base::Result<AptSources> sources_of(const Recipe& recipe, const std::filesystem::path& apt_dir = "/etc/apt");

}  // namespace sandforge::image
