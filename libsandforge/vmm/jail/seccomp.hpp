// SPDX-License-Identifier: Apache-2.0
// Which system calls a thread of the monitor may still make once the guest runs. Anything else ends the process.
#pragma once

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
    NoExecutable,  // of mmap and mprotect: no PROT_EXEC in the third argument
    KnownRequest,  // of ioctl: the second argument is one of the role's requests
  } check;
  const char* reason;
};

// The whole list of a role.
std::span<const SyscallRule> syscall_rules(ThreadRole role);

// Confines the calling thread for good. Sets no_new_privs. Errors: of prctl and seccomp.
base::Status confine_thread(ThreadRole role);

}  // namespace sandforge::vmm
