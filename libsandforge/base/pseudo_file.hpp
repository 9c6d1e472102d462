// SPDX-License-Identifier: Apache-2.0
// Small texts of the kernel's pseudo file systems: /proc, /sys, control groups.
#pragma once

#include <cstddef>
#include <string>

namespace sandforge::base {

// The first `cap` bytes of the file, without newlines at the end; "" when it cannot be read.
std::string read_pseudo_file(const std::string& path, std::size_t cap = 4096);

}  // namespace sandforge::base
