// SPDX-License-Identifier: Apache-2.0
// The capabilities of a task in a container: what common software needs as root, and nothing that reaches past the
// task.
#pragma once

#include <linux/capability.h>

#include <cstdint>

namespace sandforge::agent {

inline constexpr std::uint64_t capability_bit(unsigned number) noexcept { return std::uint64_t{1} << number; }

inline constexpr std::uint64_t kContainerCapabilities =
    capability_bit(CAP_CHOWN) |             // package managers set owners
    capability_bit(CAP_DAC_OVERRIDE) |      // root reads and writes files of others
    capability_bit(CAP_FOWNER) |            // and changes their modes
    capability_bit(CAP_FSETID) |            // keeping set-id bits when it writes
    capability_bit(CAP_KILL) |              // signals to processes of other users in the task
    capability_bit(CAP_SETGID) |            // su, daemons that drop privileges
    capability_bit(CAP_SETUID) |            //
    capability_bit(CAP_SETPCAP) |           // dropping from the bounding set
    capability_bit(CAP_NET_BIND_SERVICE) |  // ports below 1024
    capability_bit(CAP_NET_RAW) |           // ping
    capability_bit(CAP_SYS_CHROOT) |        // chroot into a tree of its own
    capability_bit(CAP_MKNOD) |             // FIFOs and nodes in archives; device nodes do not open (nodev)
    capability_bit(CAP_AUDIT_WRITE) |       // PAM
    capability_bit(CAP_SETFCAP);            // file capabilities in packages

// Drops every other capability from the bounding set and clears the inheritable and ambient ones. errno value, 0 when
// done. System calls only: for a child after clone. Needs CAP_SETPCAP.
int bound_capabilities(std::uint64_t kept) noexcept;

// Sets permitted and effective to `kept` for uid 0; for another uid the kernel cleared them when the uid changed.
int set_capabilities(std::uint64_t kept) noexcept;

}  // namespace sandforge::agent
