// SPDX-License-Identifier: Apache-2.0
// What makes one guest differ from another: clock, entropy, host name, machine id.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace sandforge::agent {

base::Status set_clock(std::int64_t realtime_ns);
// Credits the bytes to the kernel's generator and makes it reseed at once.
base::Status add_entropy(std::string_view bytes);
// Sets the host name of the agent's UTS namespace, which later tasks copy, and writes /etc/hostname, /etc/hosts and
// /etc/machine-id below `root`. Empty: left as it is. The files are written on the root file system itself, never
// through a mount over /etc, so this does not block on one. `in_guest` false leaves the kernel's host name alone.
base::Status set_identity(int root, const std::string& hostname, const std::string& machine_id, bool in_guest);

// invalid_argument unless these are a host name and 32 hex digits; empty is fine.
base::Status check_identity(std::string_view hostname, std::string_view machine_id);

}  // namespace sandforge::agent
