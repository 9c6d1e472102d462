// SPDX-License-Identifier: Apache-2.0
// Leaves the monitor with nothing but the descriptors it was given: an empty file system, no network, no other
// processes' objects, no capabilities, no path by Landlock either, hard limits on what it may use. The threads' system
// calls are confined later, by jail/seccomp.hpp.
#pragma once

#include "base/result.hpp"

namespace sandforge::vmm {

// Before anything is read that others wrote, in a process with one thread. Works for any user, by a user namespace.
// Descriptors above `last_descriptor` are closed.
// Errors: denied "user_namespaces" with a remedy, where the host forbids them; those of the calls otherwise.
base::Status enter_jail(int last_descriptor);

// Once all vCPU threads run. Not earlier: kernels before 5.14 count all processes of the user.
base::Status forbid_threads();

}  // namespace sandforge::vmm
