// SPDX-License-Identifier: Apache-2.0
// Finds the kernel inside a bzImage, by the setup header of the x86 boot protocol.
#pragma once

#include <cstddef>
#include <string_view>

#include "base/result.hpp"

namespace sandforge::image {

enum class Compression { None, Gzip, Xz, Lz4, Zstd };

struct Payload {
  std::string_view bytes;  // of the image given; what the tool of `compression` takes
  Compression compression = Compression::None;
};

// Whether it has a bzImage's magic; nothing else is checked.
bool is_bzimage(std::string_view image) noexcept;
// Whether it begins as an ELF64 little-endian x86-64 file with program headers within its bounds.
bool is_x86_64_elf(std::string_view image) noexcept;

// The compressed vmlinux within a bzImage. Every offset is checked against `image`, which must outlive the answer.
// Errors: corrupt "kernel_corrupt", unsupported "kernel_unsupported".
base::Result<Payload> find_payload(std::string_view image);

}  // namespace sandforge::image
