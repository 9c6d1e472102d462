// SPDX-License-Identifier: Apache-2.0
// What is known of a sandbox: plain values, copied out of the library.
#pragma once

#include <sandforge/error.hpp>

#include <chrono>
#include <cstdint>
#include <string>

namespace sandforge {

// What stands between a guest and the host. Ordered: a higher value is a stronger boundary.
enum class Isolation : sandforge_isolation {
  None = SANDFORGE_ISOLATION_NONE,
  UserKernel = SANDFORGE_ISOLATION_USER_KERNEL,
  SoftwareVm = SANDFORGE_ISOLATION_SOFTWARE_VM,
  HardwareVm = SANDFORGE_ISOLATION_HARDWARE_VM,
};
inline const char* name_of(Isolation isolation) {
  return sandforge_isolation_name(static_cast<sandforge_isolation>(isolation));
}

// The state diagram is in sandforge.h, section 5.
enum class State : sandforge_state {
  Requested = SANDFORGE_STATE_REQUESTED,
  Provisioning = SANDFORGE_STATE_PROVISIONING,
  Ready = SANDFORGE_STATE_READY,
  Executing = SANDFORGE_STATE_EXECUTING,
  Interactive = SANDFORGE_STATE_INTERACTIVE,
  WritingFile = SANDFORGE_STATE_WRITING_FILE,
  CopyingArtifacts = SANDFORGE_STATE_COPYING_ARTIFACTS,
  Paused = SANDFORGE_STATE_PAUSED,
  Destroying = SANDFORGE_STATE_DESTROYING,
  Destroyed = SANDFORGE_STATE_DESTROYED,
  Error = SANDFORGE_STATE_ERROR,
};
// "ready" and so on: the words of the HTTP API.
inline const char* name_of(State state) { return sandforge_state_name(static_cast<sandforge_state>(state)); }

struct SandboxInfo {
  std::string id;
  State state = State::Requested;
  std::string backend;  // the one that was really used
  Isolation isolation = Isolation::None;
  std::string image;         // name, as asked for
  std::string image_digest;  // "sha256:…", empty for backends without images
  std::int64_t cpu = 0, memory_mb = 0, disk_gb = 0, timeout_sec = 0;
  std::string network_mode;
  std::string task_isolation;
  std::int64_t created_at = 0;              // Unix seconds
  std::int64_t expires_at = 0;              // Unix seconds; 0 before ready
  std::chrono::nanoseconds ready_after{0};  // create call to ready; 0 before
  std::chrono::nanoseconds guest_hello{0};  // the guest's monotonic clock when its agent said hello
  std::string failure;                      // why the state is Error, or why it was destroyed
  std::string failure_reason;               // machine word for it
};

namespace detail {

inline SandboxInfo copy(const sandforge_sandbox_info& from) {
  SandboxInfo info;
  info.id = text_of(from.id);
  info.state = static_cast<State>(from.state);
  info.backend = text_of(from.backend);
  info.isolation = static_cast<Isolation>(from.isolation);
  info.image = text_of(from.image);
  info.image_digest = text_of(from.image_digest);
  info.cpu = from.cpu;
  info.memory_mb = from.memory_mb;
  info.disk_gb = from.disk_gb;
  info.timeout_sec = from.timeout_sec;
  info.network_mode = text_of(from.network_mode);
  info.task_isolation = text_of(from.task_isolation);
  info.created_at = from.created_at;
  info.expires_at = from.expires_at;
  info.ready_after = std::chrono::nanoseconds(static_cast<std::int64_t>(from.ready_after_ns));
  info.guest_hello = std::chrono::nanoseconds(static_cast<std::int64_t>(from.guest_hello_ns));
  info.failure = text_of(from.failure);
  info.failure_reason = text_of(from.failure_reason);
  return info;
}

}  // namespace detail
}  // namespace sandforge
