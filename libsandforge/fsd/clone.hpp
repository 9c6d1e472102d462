// SPDX-License-Identifier: Apache-2.0
// Makes the mount that a host directory is served through: a detached clone whose top the directory is. Nothing leads
// out of it, whatever is renamed meanwhile, and its flags are the host kernel's own: nosuid, nodev, noexec, and
// read-only where that was asked for. What is mounted below the directory is not part of it.
#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::fsd {

// `directory`: any descriptor of it. Takes CAP_SYS_ADMIN over the mount namespace that the descriptor belongs to.
// Errors: denied without it; invalid_argument "not_a_directory"; those of the calls.
base::Result<base::UniqueFd> clone_mount(int directory, bool read_only);

// The same for those who may not: in a user and mount namespace of its own, which this process (one thread) enters for
// good. The path is looked up there once more, and what is found must be the same directory.
// Errors: denied "user_namespaces"; conflict "directory_moved" when it is no longer where it was.
base::Result<base::UniqueFd> clone_mount_unprivileged(int directory, bool read_only);

}  // namespace sandforge::fsd
