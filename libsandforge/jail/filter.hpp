// SPDX-License-Identifier: Apache-2.0
// Which system calls a thread of a helper may still make. Anything else ends the process. The lists are the helpers'
// own: vmm/jail/seccomp.hpp, fsd/process/seccomp.hpp.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.hpp"

namespace sandforge::jail {

struct SyscallRule {
  long number;
  enum class Check : unsigned char {
    None,
    NoExecutable,  // of mprotect: no PROT_EXEC in the third argument
    FreshMemory,   // of mmap: no PROT_EXEC, and no file behind it
    GiveBack,      // of madvise: MADV_DONTNEED and nothing else
    KnownRequest,  // of ioctl: the second argument is one of the thread's requests
    Kick,          // of tgkill: a thread of this process, and the signal `value`
    Command,       // of fcntl: the second argument is `value`
  } check;
  const char* reason;
  std::uint32_t value = 0;
};

// Confines the calling thread for good; `requests` are those of ioctl. Sets no_new_privs. Errors: of prctl and seccomp.
base::Status confine_thread(std::span<const SyscallRule> rules, std::span<const unsigned long> requests = {});

}  // namespace sandforge::jail
