// SPDX-License-Identifier: Apache-2.0
#include "engine/limits_table.hpp"

#include <array>

#include "base/limits.hpp"

namespace sandforge::engine {
namespace {

constexpr auto kTable = std::to_array<NamedLimit>({
    {"cpu_default", limits::kCpuDefault},
    {"cpu_max", limits::kCpuMax},
    {"memory_mb_default", limits::kMemoryMbDefault},
    {"memory_mb_min", limits::kMemoryMbMin},
    {"memory_mb_max", limits::kMemoryMbMax},
    {"disk_gb_default", limits::kDiskGbDefault},
    {"disk_gb_max", limits::kDiskGbMax},
    {"timeout_sec_default", limits::kTimeoutSecDefault},
    {"timeout_sec_max", limits::kTimeoutSecMax},
    {"sandboxes_default", limits::kSandboxesDefault},
    {"sandboxes_max", limits::kSandboxesMax},
    {"id_length_max", limits::kIdMax},
    {"tombstones_max", limits::kTombstonesMax},
    {"tombstone_sec", limits::kTombstoneSec},
    {"mounts_max", limits::kMountsMax},
    {"exec_args_max", limits::kArgsMax},
    {"exec_arg_bytes_max", limits::kArgBytesMax},
    {"exec_bytes_max", limits::kExecBytesMax},
    {"output_cap_default", limits::kOutputCapDefault},
    {"output_cap_max", limits::kOutputCapMax},
    {"exec_timeout_ms_max", limits::kExecTimeoutMsMax},
    {"pids_default", limits::kPidsDefault},
    {"pids_max", limits::kPidsMax},
    {"exec_host_grace_ms", limits::kExecHostGraceMs},
    {"path_bytes_max", limits::kPathMax},
    {"read_file_default", limits::kReadFileDefault},
    {"directory_entries_max", limits::kDirEntriesMax},
    {"directory_bytes_max", limits::kDirBytesMax},
    {"file_stall_ms", limits::kFileStallMs},
    {"streams_max", limits::kStreamsMax},
    {"stream_window_bytes", limits::kStreamWindow},
    {"boot_timeout_ms", limits::kBootTimeoutMs},
    {"import_bytes_max", limits::kImportBytesMax},
    {"image_name_max", limits::kImageNameMax},
});

}  // namespace

std::span<const NamedLimit> limits_table() noexcept { return kTable; }

}  // namespace sandforge::engine
