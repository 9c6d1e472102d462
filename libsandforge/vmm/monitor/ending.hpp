// SPDX-License-Identifier: Apache-2.0
// How a guest's life ended, and the exit status by which the monitor tells it. Shared by the monitor and its backend.
#pragma once

#include <cstdint>

namespace sandforge::vmm {

// The number is the process's exit status. Permanent.
enum class Ending : std::uint8_t {
  PowerOff = 0,
  Reset = 64,        // by the reset register
  TripleFault = 65,  // also how a kernel with reboot=t resets
  VcpuFailed = 66,   // the hypervisor could not go on with a vCPU
  BadRequest = 67,   // configuration, kernel, initrd or disk unusable: the guest was never started
  Internal = 68,     // a system call that should not fail did; the guest was stopped
  Stopped = 69,      // by its owner, or because its owner is gone
};

// "powered off", "was reset", … Static storage; "ended in an unknown way" for any other number.
inline const char* describe(std::uint8_t status) {
  switch (static_cast<Ending>(status)) {
    case Ending::PowerOff: return "powered off";
    case Ending::Reset: return "was reset";
    case Ending::TripleFault: return "reset by a triple fault";
    case Ending::VcpuFailed: return "was stopped: a vCPU failed";
    case Ending::BadRequest: return "was never started";
    case Ending::Internal: return "was stopped: the monitor failed";
    case Ending::Stopped: return "was stopped by its owner";
  }
  return "ended in an unknown way";
}

}  // namespace sandforge::vmm
