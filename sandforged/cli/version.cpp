// SPDX-License-Identifier: Apache-2.0
// sandforged version
#include "cli/commands.hpp"

namespace sandforge::cli {

int version(const Words& words) {
  const Args args(words, {}, Args::Stop::Never);
  if (args.help()) return print("usage: sandforged version\n\nPrints the version of the library that runs.\n") ? 0 : 1;
  return print("sandforged " + std::string(library_version()) + "\n") ? 0 : 1;
}

}  // namespace sandforge::cli
