// SPDX-License-Identifier: Apache-2.0
// The system call filter of tasks in a container: one table, a reason per entry, compiled to classic BPF.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <span>
#include <vector>

namespace sandforge::agent {

struct DeniedCall {
  long number;
  int error;  // what the caller sees
  const char* name;
  const char* reason;
};
std::span<const DeniedCall> denied_calls() noexcept;

// Everything is allowed but the table, new namespaces by clone, vsock sockets, and calls of another architecture.
std::vector<sock_filter> build_filter();

// Installs it for the calling process, which has no_new_privs set or CAP_SYS_ADMIN. errno value, 0 when done. System
// calls only: for a child after clone.
int install_filter(std::span<const sock_filter> filter) noexcept;

}  // namespace sandforge::agent
