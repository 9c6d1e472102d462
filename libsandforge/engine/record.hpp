// SPDX-License-Identifier: Apache-2.0
// record.toml: what is known of a sandbox, on disk beside its files. Version 1:
//
//   version = 1            raised when an older library could misread a record
//   id, backend, isolation, state, image, image_digest, network_mode, task_isolation     strings
//   cpu, memory_mb, disk_gb, timeout_sec, created_at, expires_at                         integers
//   failure, failure_reason                                                              strings, "" when there is none
#pragma once

#include <filesystem>

#include "base/result.hpp"

namespace sandforge::engine {

struct SandboxInfo;

inline constexpr const char* kRecordName = "record.toml";

// Replaces the record atomically: a reader sees the old or the new one, whole. BLOCKS on the disk. A directory that is
// missing is fine and stays missing.
base::Status write_record(const std::filesystem::path& directory, const SandboxInfo& info);

}  // namespace sandforge::engine
