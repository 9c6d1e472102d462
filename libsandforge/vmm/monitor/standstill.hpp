// SPDX-License-Identifier: Apache-2.0
// Holds a whole machine: first its vCPUs, then its devices. Only the owner is heard meanwhile.
//
//   Running -- pause() --> Pausing -- last vCPU parked: on_parked() --> Paused -- resume() --> Running
//                             '------------------- resume() ----------------------------------'
#pragma once

#include <memory>

#include "base/result.hpp"
#include "vmm/monitor/control.hpp"
#include "vmm/monitor/loop.hpp"
#include "vmm/monitor/vcpu_gate.hpp"

namespace sandforge::vmm {

// Loop thread only.
class Standstill {
 public:
  // `loop` is that of the devices, `quiet` hears the owner alone while the machine stands. Both, and the gate, outlive
  // it.
  Standstill(Loop& loop, Loop& quiet, VcpuGate& gate) : loop_(loop), quiet_(quiet), gate_(gate) {}

  RunState state() const noexcept { return state_; }
  // True: it stands already.
  bool pause();
  void resume();
  // The machine is to end: lets on_parked() return.
  void end();

  // When the gate's parked_fd is readable. BLOCKS while the machine stands: no device moves, what comes in for one
  // stays in its descriptor. `ended`: the machine is at its end already, so it does not wait. Errors: of the loops.
  base::Status on_parked(Control& control, bool ended);

 private:
  Loop& loop_;
  Loop& quiet_;
  VcpuGate& gate_;
  RunState state_ = RunState::Running;
};

}  // namespace sandforge::vmm
