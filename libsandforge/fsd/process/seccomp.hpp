// SPDX-License-Identifier: Apache-2.0
// Which system calls the file server's threads may still make once a guest is served. Anything else ends the process.
#pragma once

#include <span>

#include "jail/filter.hpp"

namespace sandforge::fsd {

enum class ThreadRole {
  Worker,   // answers the guest
  Control,  // answers the owner
};

// The whole list of a role. Calls that open, make or name files take directories by descriptor only: the root is empty,
// and so is every way to it.
std::span<const jail::SyscallRule> syscall_rules(ThreadRole role);

}  // namespace sandforge::fsd
