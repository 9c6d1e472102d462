// SPDX-License-Identifier: Apache-2.0
// The guest's kernel: Debian's package fetched without installing it, or a file of the user; out comes a plain vmlinux.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "image/apt_sources.hpp"
#include "image/bzimage.hpp"
#include "image/tool.hpp"

namespace sandforge::image {

// Runs the tool of the format: `from` to `to`. Compression::None is invalid_argument. BLOCKS.
base::Status decompress(Compression compression, const std::filesystem::path& from, const std::filesystem::path& to);

// Writes the ELF kernel in `image` (a bzImage or a vmlinux) to `vmlinux`. `temp` is for intermediate files. BLOCKS.
// Errors: invalid_argument "not_a_kernel", those of find_payload and run_tool.
base::Status unpack_kernel(const std::filesystem::path& image, const std::filesystem::path& vmlinux,
                           const std::filesystem::path& temp);

// The release in the banner of a vmlinux ("6.1.0-40-cloud-amd64"); empty when there is none.
std::string find_release(std::string_view vmlinux);

struct KernelPackage {
  std::filesystem::path tree;   // the unpacked package
  std::filesystem::path image;  // its /boot/vmlinuz-*
  std::string release;
};
// Downloads and unpacks a kernel package into `temp`: `package` itself, or the one it depends on (linux-image-…) when
// it is a meta package. apt runs with a state of its own; the host's lists and cache are neither needed nor touched.
// BLOCKS. Errors: not_found "kernel_package_missing", those of run_tool.
base::Result<KernelPackage> fetch_kernel(const AptSources& sources, std::string_view package,
                                         const std::filesystem::path& temp, const Progress& progress);

}  // namespace sandforge::image
