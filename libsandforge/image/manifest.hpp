// SPDX-License-Identifier: Apache-2.0
// Manifest: what an image is made of. One TOML file per name in the store; the canonical part gives the image's digest.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "image/kernel_kind.hpp"

namespace sandforge::image {

inline constexpr std::int64_t kManifestFormat = 1;

// Of an image: [a-z0-9][a-z0-9._-]{0,63}
bool is_valid_name(std::string_view name) noexcept;

// A file of the store: content only, no name.
struct Blob {
  std::string digest;  // "sha256:" + 64 lower-case hex digits
  std::uint64_t bytes = 0;
};

struct Manifest {
  std::string name;
  std::string recipe_digest;    // "" for imports
  std::int64_t created_at = 0;  // Unix seconds
  KernelKind kernel_kind = KernelKind::Stock;
  std::string kernel_build;  // of a built kernel, "sha256:…" of what it was compiled from (kernel_build_key); else ""
  std::string kernel_release;
  std::vector<std::string> kernel_modules;  // names in load order, as in the modules archive
  Blob kernel;                              // vmlinux, ELF64
  Blob modules;                             // cpio newc
  Blob root;                                // EROFS
};

// The TOML text: what is not content (name, recipe_digest, created_at, kernel_kind, kernel_build) stands first, then
// the canonical part. parse_manifest(to_toml(m)) gives m again.
std::string to_toml(const Manifest& manifest);
// "sha256:…" of the canonical part: the same parts give the same digest under any name, on any day.
std::string digest_of(const Manifest& manifest);
// Errors: corrupt "image_corrupt" with line and column.
base::Result<Manifest> parse_manifest(std::string_view text);

}  // namespace sandforge::image
