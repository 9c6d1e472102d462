// SPDX-License-Identifier: Apache-2.0
// The mounts of the guest: the agent's own and those of the root that tasks see.
#pragma once

#include <string>

#include "base/result.hpp"

namespace sandforge::agent {

// mount(2) with an error that names the target; the target directory is made when it is missing.
base::Status mount_at(const char* source, const std::string& target, const char* type, unsigned long flags,
                      const char* options = nullptr);

// A tmpfs as the new root of this process. The old root stays reachable only by descriptors opened before.
base::Status enter_memory_root();

// /dev/`root_device` (EROFS) under an overlay on /dev/`disk_device` (ext4) at `new_root`.
base::Status mount_root(const std::string& root_device, const std::string& disk_device, const std::string& new_root);

// /proc, /sys, /dev, /run and /tmp of the root that tasks see.
base::Status fill_root(const std::string& new_root);

}  // namespace sandforge::agent
