// SPDX-License-Identifier: Apache-2.0
// bzImages: the payload lies within the image.
#include "image/bzimage.hpp"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace sandforge::image;
  const std::string_view image(reinterpret_cast<const char*>(data), size);
  (void)is_x86_64_elf(image);
  const auto payload = find_payload(image);
  if (!payload) return 0;
  const std::string_view bytes = payload.value().bytes;
  if (bytes.data() < image.data() || bytes.data() + bytes.size() > image.data() + image.size()) __builtin_trap();
  return 0;
}
