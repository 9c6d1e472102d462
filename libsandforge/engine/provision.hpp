// SPDX-License-Identifier: Apache-2.0
// The files of a sandbox: made before its guest starts, removed after it ended. All of it BLOCKS on the disk.
#pragma once

#include <filesystem>

#include "base/result.hpp"
#include "engine/core.hpp"
#include "engine/sandbox.hpp"

namespace sandforge::engine {

// Makes the sandbox's directory with its record and, for a backend that boots images, resolves the image, composes the
// initrd and makes the private disk. What it made on failure is the caller's to remove.
// Errors: not_found (image, helper), corrupt (image), exhausted (disk), denied, internal.
base::Result<Provisioned> provision(const Core& core, const SandboxInfo& info, bool uses_images);

// Nothing is left. A directory that is missing is fine.
base::Status remove_sandbox_directory(const std::filesystem::path& directory);
// Everything but the record goes: a failed create keeps its reason, not its disk.
base::Status keep_record_only(const std::filesystem::path& directory);

}  // namespace sandforge::engine
