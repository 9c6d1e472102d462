// SPDX-License-Identifier: Apache-2.0
// What callers ask for, and the one place where it is judged. Pure: no file is touched, no host is asked.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/printable.hpp"
#include "base/result.hpp"
#include "wire/messages.hpp"

namespace sandforge::engine {

struct Mount {
  std::string host_path, guest_path;
  bool read_only = false;
};

// As given, empty and 0 mean the default; as answered by resolve_spec, every field says what will be.
struct SandboxSpec {
  std::string id;
  std::string backend;  // stays "" for auto: the choice depends on the host (backend_choice.hpp)
  std::string image;
  std::int64_t cpu = 0;
  std::int64_t memory_mb = 0;
  std::int64_t disk_gb = 0;
  std::int64_t timeout_sec = 0;
  std::string network_mode;
  std::string task_isolation;
  std::vector<Mount> mounts;
};

// Errors: invalid_argument "invalid_spec" naming field, value and range.
base::Result<SandboxSpec> resolve_spec(SandboxSpec given);

// What a spec may ask for, but no engine of this version can give. Errors: unsupported "network_unsupported".
base::Status check_supported(const SandboxSpec& resolved);

wire::TaskIsolation task_isolation_of(const SandboxSpec& spec) noexcept;

struct ExecSpec {
  std::vector<std::string> argv;
  std::vector<std::string> env;
  std::string cwd, user;
  std::int64_t timeout_ms = 0;
  std::string stdin_data;        // collected execs only
  std::uint64_t output_cap = 0;  // collected execs only
  bool stream_stdin = false;     // streamed execs only
  std::uint64_t memory_max = 0;
  std::uint32_t pids_max = 0;
};
// Fills in the defaults. Errors: invalid_argument "invalid_exec".
base::Result<ExecSpec> resolve_exec(ExecSpec given);

// Guest paths: absolute, not empty, within limits::kPathMax, no NUL. Errors: invalid_argument "invalid_path".
base::Status check_guest_path(std::string_view path);

using base::printable;

// [A-Za-z0-9][A-Za-z0-9_.-]{0,127}
bool is_valid_id(std::string_view id) noexcept;
// "sbx-" and 16 random hex digits.
std::string make_id();
// Random bytes of the kernel, and hex digits made of them.
std::string random_bytes(std::size_t count);
std::string random_hex(std::size_t digits);
// The id as a hostname: lower case, letters, digits and hyphens, at most 63.
std::string hostname_of(std::string_view id);

}  // namespace sandforge::engine
