// SPDX-License-Identifier: Apache-2.0
// The private disk of a sandbox: a sparse file with an empty ext4, which the guest lays over the shared root image.
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/result.hpp"

namespace sandforge::backend {

// Makes `file` (which must not exist, mode 0600) of exactly `bytes`, formatted. BLOCKS for some 10 ms; takes about
// 200 KiB of the host's disk at any size. Needs no privilege. On error nothing is left behind.
// Errors: unsupported (mke2fs is missing: the remedy names the package), conflict (the file is there), exhausted
// (host disk), invalid_argument (smaller than 16 MiB), internal (mke2fs failed: its last line).
base::Status make_private_disk(const std::filesystem::path& file, std::uint64_t bytes);

}  // namespace sandforge::backend
