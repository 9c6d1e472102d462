// SPDX-License-Identifier: Apache-2.0
// Whether the kernel's timer runs as fast as the host says it does.
//
// Where nothing tells the kernel, it counts its local APIC timer against the TSC for 100 ms at start-up. A vCPU that
// the host does not run for as long, right then, makes it count wrongly: on a busy host by some percent, or so badly
// that it does without a timer. It says nothing, boots, and every wait of it is for ever or far too long. There is no
// second measurement: the guest has to be started anew.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.hpp"

namespace sandforge::agent {

// What /proc/timer_list tells of the first CPU's clock event device, in kHz; 0 when it tells nothing.
std::uint64_t timer_khz(std::string_view timer_list) noexcept;

// `expected_khz` is what the machine has. Errors: guest_fault with wire::kBadTimer.
base::Status check_timer(std::string_view timer_list, std::uint64_t expected_khz);

}  // namespace sandforge::agent
