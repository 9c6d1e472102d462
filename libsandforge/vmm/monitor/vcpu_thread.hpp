// SPDX-License-Identifier: Apache-2.0
// The thread of one vCPU: runs the guest, answers accesses to nothing by itself, hands all others over.
#pragma once

#include <functional>
#include <string>

#include "vmm/hypervisor/hypervisor.hpp"
#include "vmm/monitor/ending.hpp"
#include "vmm/monitor/hand_over.hpp"
#include "vmm/monitor/vcpu_gate.hpp"
#include "vmm/platform/bus.hpp"

namespace sandforge::vmm {

// What all vCPU threads share; outlives them.
struct VcpuSurroundings {
  const Bus* memory_bus = nullptr;
  const Bus* port_bus = nullptr;
  HandOver* hand_over = nullptr;
  VcpuGate* gate = nullptr;
  // Any thread: the machine ends; the first call counts. `detail` goes to the log.
  std::function<void(Ending, std::string detail)> end;
};

// Runs on the calling thread until the guest ends. `index` is the vCPU's seat in the gate.
void run_vcpu(Vcpu& vcpu, std::size_t index, const VcpuSurroundings& surroundings);

}  // namespace sandforge::vmm
