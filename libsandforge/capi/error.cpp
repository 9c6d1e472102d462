// SPDX-License-Identifier: Apache-2.0
// Errors and names of the C ABI.
#include "backend/backend.hpp"
#include "capi/guard.hpp"
#include "engine/backend_choice.hpp"
#include "engine/state.hpp"
#include "wire/messages.hpp"

#define SANDFORGE_STRING_(x) #x
#define SANDFORGE_STRING(x) SANDFORGE_STRING_(x)

namespace sandforge::capi {
namespace {

// Never freed and never written: only its address and its code are used.
sandforge_error* out_of_memory() noexcept {
  alignas(sandforge_error) static unsigned char storage[sizeof(sandforge_error)];
  return reinterpret_cast<sandforge_error*>(storage);
}

}  // namespace

sandforge_code give_error(sandforge_error** slot, base::Error error) noexcept {
  const auto code = static_cast<sandforge_code>(error.code);
  if (slot == nullptr) return code;
  try {
    if (error.reason.empty()) error.reason = base::code_name(error.code);
    auto* owned = new sandforge_error{std::move(error)};
    *slot = owned;
  } catch (...) {
    return give_out_of_memory(slot);
  }
  return code;
}

sandforge_code give_out_of_memory(sandforge_error** slot) noexcept {
  if (slot != nullptr) *slot = out_of_memory();
  return SANDFORGE_EXHAUSTED;
}

}  // namespace sandforge::capi

using sandforge::capi::out_of_memory;

extern "C" {

const char* sandforge_version(void) {
  return SANDFORGE_STRING(SANDFORGE_VERSION_MAJOR) "." SANDFORGE_STRING(SANDFORGE_VERSION_MINOR) "." SANDFORGE_STRING(
      SANDFORGE_VERSION_PATCH);
}

sandforge_code sandforge_error_code(const sandforge_error* error) {
  if (error == nullptr) return SANDFORGE_OK;
  if (error == out_of_memory()) return SANDFORGE_EXHAUSTED;
  return static_cast<sandforge_code>(error->error.code);
}
const char* sandforge_error_reason(const sandforge_error* error) {
  if (error == nullptr) return "ok";
  if (error == out_of_memory()) return "out_of_memory";
  return error->error.reason.c_str();
}
const char* sandforge_error_message(const sandforge_error* error) {
  if (error == nullptr) return "";
  if (error == out_of_memory()) return "out of memory";
  return error->error.message.c_str();
}
const char* sandforge_error_remedy(const sandforge_error* error) {
  if (error == nullptr || error == out_of_memory()) return "";
  return error->error.remedy.c_str();
}
const char* sandforge_error_rule(const sandforge_error* error) {
  if (error == nullptr || error == out_of_memory()) return "";
  return error->error.rule.c_str();
}
int32_t sandforge_error_errno(const sandforge_error* error) {
  if (error == nullptr) return 0;
  if (error == out_of_memory()) return ENOMEM;
  return error->error.os_errno;
}
void sandforge_error_free(sandforge_error* error) {
  if (error != out_of_memory()) delete error;
}

const char* sandforge_code_name(sandforge_code code) {
  return sandforge::base::code_name(static_cast<sandforge::base::Code>(code));
}
const char* sandforge_isolation_name(sandforge_isolation isolation) {
  return sandforge::engine::isolation_name(static_cast<sandforge::backend::Isolation>(isolation));
}
const char* sandforge_state_name(sandforge_state state) {
  return sandforge::engine::state_name(static_cast<sandforge::engine::State>(state));
}
const char* sandforge_ended_by_name(sandforge_ended_by ended_by) {
  static constexpr const char* kNames[] = {"exit",   "signal", "timeout",  "oom",       "output_cap",
                                           "killed", "policy", "vm_crash", "agent_lost"};
  return ended_by < std::size(kNames) ? kNames[ended_by] : "unknown";
}

}  // extern "C"
