// SPDX-License-Identifier: Apache-2.0
// The ACPI tables of the machine: hardware-reduced, so that the kernel looks for no timer, keyboard controller, clock
// chip or legacy interrupt; virtio-mmio devices as LNRO0005, the only way in which a stock kernel finds them.
#pragma once

#include <cstdint>
#include <string>

#include "vmm/memory/guest_memory.hpp"

namespace sandforge::vmm {

struct MachineDescription {
  std::uint32_t cpus = 1;     // local APIC identifiers 0, 1, …
  std::uint32_t devices = 0;  // virtio-mmio windows, from kDeviceWindows on
  bool serial = true;
};

// The bytes to lie at kAcpiStart: RSDP first. Deterministic.
std::string acpi_tables(const MachineDescription& machine);

}  // namespace sandforge::vmm
