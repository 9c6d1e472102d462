// SPDX-License-Identifier: Apache-2.0
// What the guest is told of its CPU: what the host's KVM supports, less what this monitor does not offer, with a
// topology of its own and with sizes that fit the features.
#pragma once

#include <cstdint>
#include <vector>

#include "vmm/hypervisor/hypervisor.hpp"

namespace sandforge::vmm {

// The table of vCPU `index` of `count`: one socket, one thread a core, APIC identifier = index. Pure.
std::vector<CpuidEntry> guest_cpuid(const std::vector<CpuidEntry>& supported, std::uint32_t index, std::uint32_t count);

// XCR0 with all that `table` has; 0 when the CPU has no XSAVE.
std::uint64_t xsave_components(const std::vector<CpuidEntry>& table);

}  // namespace sandforge::vmm
