// SPDX-License-Identifier: Apache-2.0
// Which system calls a thread of the monitor may still make once the guest runs. Anything else ends the process.
#pragma once

#include <csignal>
#include <span>

#include "base/result.hpp"

namespace sandforge::vmm {

enum class ThreadRole {
  Vcpu,  // runs guest code and hands accesses over
  Loop,  // owns the devices and their descriptors
};

struct SyscallRule {
  long number;
  enum class Check : unsigned char {
    None,
    NoExecutable,  // of mprotect: no PROT_EXEC in the third argument
    FreshMemory,   // of mmap: no PROT_EXEC, and no file behind it
    GiveBack,      // of madvise: MADV_DONTNEED and nothing else
    KnownRequest,  // of ioctl: the second argument is one of the role's requests
    Kick,          // of tgkill: a thread of this process, and the signal that interrupts a vCPU
  } check;
  const char* reason;
};

// Interrupts a vCPU thread in the guest. Its handler does nothing.
inline constexpr int kKickSignal = SIGUSR1;

// The whole list of a role.
std::span<const SyscallRule> syscall_rules(ThreadRole role);

// Confines the calling thread for good. Sets no_new_privs. Errors: of prctl and seccomp.
base::Status confine_thread(ThreadRole role);

}  // namespace sandforge::vmm
