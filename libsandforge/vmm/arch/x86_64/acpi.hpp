// SPDX-License-Identifier: Apache-2.0
// The ACPI tables of the machine: hardware-reduced, so that the kernel looks for no timer, keyboard controller, clock
// chip or legacy interrupt; virtio-mmio devices as LNRO0005, the only way in which a stock kernel finds them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "vmm/memory/guest_memory.hpp"

namespace sandforge::vmm {

struct MachineDescription {
  std::uint32_t cpus = 1;  // local APIC identifiers 0, 1, …
  // The interrupt line of each virtio-mmio window, from kDeviceWindows on. Devices may share one.
  std::vector<std::uint32_t> device_lines;
  bool serial = true;
};

// The bytes to lie at kAcpiStart: RSDP first. Deterministic.
std::string acpi_tables(const MachineDescription& machine);

}  // namespace sandforge::vmm
