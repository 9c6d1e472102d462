// SPDX-License-Identifier: Apache-2.0
// The JSON of OCI layouts: every digest that comes out is one that may become a file name.
#include "image/digest.hpp"
#include "image/oci.hpp"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace sandforge::image;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto& list : {parse_oci_index(text), parse_oci_manifest(text)}) {
    if (!list) continue;
    for (const OciDescriptor& descriptor : list.value()) {
      if (!is_digest(descriptor.digest)) __builtin_trap();
    }
  }
  return 0;
}
