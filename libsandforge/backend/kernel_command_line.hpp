// SPDX-License-Identifier: Apache-2.0
// The guest kernel's command line, one definition for every backend that boots a kernel.
#pragma once

#include <cstdint>
#include <string>

namespace sandforge::backend {

struct KernelBootFacts {
  bool serial_console = false;  // there is a 16550 at 0x3f8
  bool emulated_cpu = false;    // no hardware virtualisation: nothing tells the kernel how fast its TSC ticks
  // Of the guest's TSC, in kHz. Must be right when emulated_cpu: the guest's clocks run by it. Else 0.
  std::uint64_t tsc_khz = 0;
  // Of the local APIC timer as Linux uses it, in kHz, where the kernel has to measure it; the agent then checks what
  // came of that. 0: nothing is measured.
  std::uint64_t timer_khz = 0;
};

// Deterministic. Every parameter stands with its reason in the source.
std::string kernel_command_line(const KernelBootFacts& facts);

}  // namespace sandforge::backend
