// SPDX-License-Identifier: Apache-2.0
// Kernel modules of the initrd.
#pragma once

#include "agent/console.hpp"

namespace sandforge::agent {

// Loads each file that `directory`/order names, in its order. Missing and loaded ones are fine, other faults go to the
// console: what really is missing shows when a device does not appear.
void load_modules(int directory, Console& console);

// Removes every file of the directory `fd`, files one level below it included: they cost memory in the initramfs.
void remove_files(int fd);

}  // namespace sandforge::agent
