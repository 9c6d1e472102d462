// SPDX-License-Identifier: Apache-2.0
// Whether this process may run guests on the host's hardware virtualisation.
#pragma once

#include <cstdint>

namespace sandforge::backend {

enum class KvmState : std::uint8_t {
  Usable,
  Missing,      // no /dev/kvm
  Denied,       // there, but not for this user
  NotHardware,  // there, but the CPU offers neither VMX nor SVM: some other thing behind the same interface
  Broken,       // there, and does not answer as KVM does
};

// Opens `device` and asks for its version; a few microseconds.
KvmState kvm_state(const char* device = "/dev/kvm");

// For people: what is the matter, and what to do about it. Both "" for Usable; static storage.
struct KvmAdvice {
  const char* finding;
  const char* remedy;
};
KvmAdvice explain(KvmState state) noexcept;

}  // namespace sandforge::backend
