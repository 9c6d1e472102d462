// SPDX-License-Identifier: Apache-2.0
#include "vmm/monitor/vcpu_thread.hpp"

#include <algorithm>

namespace sandforge::vmm {
namespace {

void access(const Bus& bus, HandOver& hand_over, std::uint64_t address, bool write, std::span<std::byte> data) {
  const Bus::Target target = bus.find(address, data.size());
  if (target.registers != nullptr) {
    if (target.registers->access_at_once(target.offset, write, data)) return;
    hand_over.perform(target, write, data);
  } else if (!write) {
    std::fill(data.begin(), data.end(), std::byte{0xff});  // as an empty bus reads
  }
}

}  // namespace

void run_vcpu(Vcpu& vcpu, std::size_t index, const VcpuSurroundings& surroundings) {
  for (;; surroundings.gate->pass(index)) {
    base::Result<Exit> exited = vcpu.run();
    if (!exited) return surroundings.end(Ending::VcpuFailed, exited.error().message);
    Exit& exit = exited.value();
    switch (exit.kind) {
      case Exit::Kind::Mmio:
        access(*surroundings.memory_bus, *surroundings.hand_over, exit.address, exit.write, exit.data);
        break;
      case Exit::Kind::Port:
        // A string instruction comes as several accesses to the one port.
        for (std::span<std::byte> rest = exit.data; exit.width > 0 && rest.size() >= exit.width;
             rest = rest.subspan(exit.width)) {
          access(*surroundings.port_bus, *surroundings.hand_over, exit.address, exit.write, rest.first(exit.width));
        }
        break;
      case Exit::Kind::Interrupted: break;
      case Exit::Kind::Shutdown: return surroundings.end(Ending::TripleFault, {});
      case Exit::Kind::Halted: return surroundings.end(Ending::VcpuFailed, "halted for ever");
      case Exit::Kind::Failed: return surroundings.end(Ending::VcpuFailed, exit.detail);
    }
  }
}

}  // namespace sandforge::vmm
