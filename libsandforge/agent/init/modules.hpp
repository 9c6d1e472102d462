// SPDX-License-Identifier: Apache-2.0
// Kernel modules of the initrd.
#pragma once

#include "agent/console.hpp"

namespace sandforge::agent {

// Lists of modules in the directory, one name a line: what every boot needs, and what the first mount needs.
inline constexpr const char* kBootModules = "order";
inline constexpr const char* kMountModules = "order-mounts";

// Loads each file that `directory`/`list` names, in its order, and removes it: it costs memory in the initramfs.
// Missing and loaded ones are fine, other faults go to the console: what really is missing shows when a device does not
// appear.
void load_modules(int directory, const char* list, Console& console);

// Removes every file of the directory `fd`.
void remove_files(int fd);

}  // namespace sandforge::agent
