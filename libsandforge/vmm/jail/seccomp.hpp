// SPDX-License-Identifier: Apache-2.0
// Which system calls a thread of the monitor may still make once the guest runs. Anything else ends the process.
#pragma once

#include <csignal>
#include <span>

#include "base/result.hpp"
#include "jail/filter.hpp"

namespace sandforge::vmm {

enum class ThreadRole {
  Vcpu,  // runs guest code and hands accesses over
  Loop,  // owns the devices and their descriptors
};

using SyscallRule = jail::SyscallRule;

// Interrupts a vCPU thread in the guest. Its handler does nothing.
inline constexpr int kKickSignal = SIGUSR1;

// The whole list of a role.
std::span<const SyscallRule> syscall_rules(ThreadRole role);

// Confines the calling thread for good. Sets no_new_privs. Errors: of prctl and seccomp.
base::Status confine_thread(ThreadRole role);

}  // namespace sandforge::vmm
