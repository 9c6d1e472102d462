// SPDX-License-Identifier: Apache-2.0
// What the agent says on the guest's console before there is a connection, and the host looks for there.
#pragma once

namespace sandforge::wire {

// The kernel's timer is of no use: see agent/init/timer_check.hpp. The guest ends; the host may start it once more.
inline constexpr const char* kBadTimer = "the kernel measured its timer wrongly";

}  // namespace sandforge::wire
