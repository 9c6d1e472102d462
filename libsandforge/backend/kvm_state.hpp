// SPDX-License-Identifier: Apache-2.0
// Whether this process may run guests on the host's hardware virtualisation.
#pragma once

#include <cstdint>
#include <string_view>

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

// What makes each new virtual machine wait, from three files of the host: the module parameter nx_huge_pages of kvm,
// the vulnerability file itlb_multihit of the CPU, and /proc/mounts. Linux 6.0 and later move a thread between cgroups
// for each machine, which waits for an RCU period (20 to 70 ms) unless one of two settings avoids it. Both "" when
// there is nothing to do; static storage.
KvmAdvice slow_settings(std::string_view nx_huge_pages, std::string_view itlb_multihit,
                        std::string_view mounts) noexcept;

}  // namespace sandforge::backend
