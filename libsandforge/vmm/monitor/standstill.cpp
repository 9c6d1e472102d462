// SPDX-License-Identifier: Apache-2.0
#include "vmm/monitor/standstill.hpp"

namespace sandforge::vmm {

bool Standstill::pause() {
  if (state_ == RunState::Paused) return true;
  state_ = RunState::Pausing;
  gate_.close();  // accesses that were handed over are still served: their vCPUs stand when they come back
  return false;
}

void Standstill::resume() {
  // Only a loop that runs is stopped: it would keep the word for the next pause, which would then hold no device.
  if (state_ == RunState::Paused) quiet_.stop();
  state_ = RunState::Running;
  gate_.open();
}

void Standstill::end() {
  if (state_ == RunState::Paused) quiet_.stop();
}

base::Status Standstill::on_parked(Control& control, bool ended) {
  if (!gate_.all_parked()) return {};  // resumed meanwhile
  state_ = RunState::Paused;
  SANDFORGE_TRY_STATUS(control.watch(&quiet_));
  control.paused();
  if (!ended) SANDFORGE_TRY_STATUS(quiet_.run());
  return control.watch(&loop_);
}

}  // namespace sandforge::vmm
