// SPDX-License-Identifier: Apache-2.0
// Manifests of the image store: whatever passes survives being written and read again.
#include "image/manifest.hpp"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace sandforge::image;
  const auto manifest = parse_manifest({reinterpret_cast<const char*>(data), size});
  if (!manifest) return 0;
  const auto again = parse_manifest(to_toml(manifest.value()));
  if (!again || digest_of(again.value()) != digest_of(manifest.value())) __builtin_trap();
  return 0;
}
