// SPDX-License-Identifier: Apache-2.0
// Recipe: what an image is built of. TOML; the keys are described in libsandforge/doc/image.md.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "image/kernel_kind.hpp"
#include "image/modules.hpp"

namespace sandforge::image {

struct RecipeFile {
  std::string path;  // absolute, in the image
  std::string content;
  unsigned mode = 0644;
};

struct RecipeSymlink {
  std::string path;  // absolute, in the image
  std::string target;
};

struct Recipe {
  std::string suite;
  std::string variant;  // of mmdebstrap
  std::vector<std::string> packages;
  KernelKind kernel = KernelKind::Stock;  // or Built
  std::string kernel_package;             // of a stock kernel
  std::string kernel_source;              // package with the source of a built one; may be empty for stock
  ModulesWanted modules;                  // what is to work in the guest
  std::string hostname;
  std::vector<std::string> mirrors;  // empty: what the host's apt is configured to use for the suite
  std::string apt_sources;           // /etc/apt/sources.list of the image
  std::vector<RecipeFile> files;
  std::vector<RecipeSymlink> symlinks;
};

// The text of the recipe that is built in. Static storage.
std::string_view default_recipe_text() noexcept;
// `name` stands before errors: the path of the file. Errors: invalid_argument "invalid_recipe", with line and column.
base::Result<Recipe> parse_recipe(std::string_view text, std::string name);
// "sha256:…" of the recipe's content (not its spelling) and of everything in this version that shapes an image.
std::string digest_of(const Recipe& recipe);

}  // namespace sandforge::image
