// SPDX-License-Identifier: Apache-2.0
// Text files of this directory that are compiled in (embedded.cpp.in, filled in by Meson).
#pragma once

namespace sandforge::image {

extern const char* const kDefaultRecipeText;  // default.recipe.toml
extern const char* const kFinishRootScript;   // finish_root.sh
extern const char* const kKernelConfig;       // kernel/sandforge_x86_64.config

}  // namespace sandforge::image
