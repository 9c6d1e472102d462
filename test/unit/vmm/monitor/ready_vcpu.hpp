// SPDX-License-Identifier: Apache-2.0
// What the vCPUs of tests have in common that only run: their registers are nobody's concern.
#pragma once

#include "vmm/hypervisor/hypervisor.hpp"

namespace sandforge::vmm::test {

class ReadyVcpu : public Vcpu {
 public:
  base::Status set_cpuid(std::span<const CpuidEntry>) final { return {}; }
  base::Status set_xcr0(std::uint64_t) final { return {}; }
  base::Status set_msrs(std::span<const Msr>) final { return {}; }
  base::Status enter_flat_protected_mode(std::uint32_t, std::uint32_t) final { return {}; }
  void request_exit() noexcept override {}
};

}  // namespace sandforge::vmm::test
