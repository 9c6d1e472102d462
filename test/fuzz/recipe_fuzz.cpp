// SPDX-License-Identifier: Apache-2.0
// Recipes: whatever passes gives a script and a digest.
#include "image/recipe.hpp"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const auto recipe = sandforge::image::parse_recipe({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (recipe && sandforge::image::digest_of(recipe.value()).size() != 71) __builtin_trap();
  return 0;
}
