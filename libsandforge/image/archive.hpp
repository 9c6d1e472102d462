// SPDX-License-Identifier: Apache-2.0
// Unpacks what an import is given: tar archives and OCI layouts, into directories of our own.
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/result.hpp"
#include "image/tool.hpp"

namespace sandforge::image {

// How much an import may still unpack, over all its archives.
struct ImportBudget {
  std::uint64_t bytes;
  std::uint64_t entries;
};

// Unpacks a tar (compressed or not) into `into`, an empty directory. First all member names are read: an absolute one,
// or one with "..", refuses the archive. `listing` is a file for that. BLOCKS.
// Errors: invalid_argument "unsafe_archive" and "not_an_image", exhausted "import_too_large".
base::Status unpack_tar(const std::filesystem::path& tar, const std::filesystem::path& into,
                        const std::filesystem::path& listing, ImportBudget& budget);

bool is_oci_layout(const std::filesystem::path& directory);
// Unpacks the linux/amd64 image of a layout into `into`, an empty directory; every blob is checked against its digest
// first. `temp` is for intermediate files. BLOCKS. Errors: corrupt "oci_corrupt", unsupported "oci_platform", those
// of unpack_tar.
base::Status unpack_oci(const std::filesystem::path& layout, const std::filesystem::path& into,
                        const std::filesystem::path& temp, ImportBudget& budget, const Progress& progress);

}  // namespace sandforge::image
