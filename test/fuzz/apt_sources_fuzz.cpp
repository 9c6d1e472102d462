// SPDX-License-Identifier: Apache-2.0
// The host's package sources, in both spellings.
#include "image/apt_sources.hpp"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace sandforge::image;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  // What was selected once is selected again.
  const AptSources list = select_one_line(text, "bookworm");
  if (select_one_line(list.one_line, "bookworm").one_line != list.one_line) __builtin_trap();
  (void)select_deb822(text, "bookworm");
  return 0;
}
