// SPDX-License-Identifier: Apache-2.0
// Prints the kernel command line that the backend linux-kvm uses, for boots by other monitors in the same run.
#include <cstdio>

#include "backend/kernel_command_line.hpp"

int main() {
  std::puts(sandforge::backend::kernel_command_line({}).c_str());
  return 0;
}
