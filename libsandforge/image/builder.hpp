// SPDX-License-Identifier: Apache-2.0
// Builds an image by a recipe and puts it into a store.
#pragma once

#include <string>

#include "base/result.hpp"
#include "image/manifest.hpp"
#include "image/modules.hpp"
#include "image/recipe.hpp"
#include "image/store.hpp"
#include "image/tool.hpp"

namespace sandforge::image {

// Builds image `name`. When the store has one of that name and recipe digest whose parts are all there, that one is
// answered and nothing is done, unless `force`. A build that fails leaves the store as it was. BLOCKS for minutes.
// Errors: invalid_argument (name), unsupported "tool_missing" (before anything is done) and "no_package_source",
// disconnected "mirror_unreachable", exhausted "no_space", not_found (kernel package, module), internal;
// with a built kernel those of build_kernel too.
base::Result<Manifest> build(Store& store, const std::string& name, const Recipe& recipe, bool force,
                             const Progress& progress);

// What an image has of its kernel: vmlinux and modules archive, written to `temp`.
struct KernelParts {
  std::filesystem::path vmlinux;
  std::filesystem::path modules;
  std::string release;
  std::vector<std::string> module_names;
  std::string build;  // of a built kernel: kernel_build_key
};
// `image`: bzImage or vmlinux; `tree` holds lib/modules/<release>; an empty release is read from the kernel itself.
base::Result<KernelParts> make_kernel_parts(const std::filesystem::path& image, const std::filesystem::path& tree,
                                            std::string release, const ModulesWanted& modules,
                                            const std::filesystem::path& temp, const Progress& progress);

}  // namespace sandforge::image
