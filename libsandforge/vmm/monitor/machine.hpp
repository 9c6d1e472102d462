// SPDX-License-Identifier: Apache-2.0
// One virtual machine: memory, vCPUs, devices, put together and run.
//
// Start-up, in order: RAM and kernel -> VM and memory slots -> devices with interrupts and kicks -> ACPI tables ->
// vCPUs -> one thread per vCPU; the calling thread becomes the device loop.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "vmm/monitor/config.hpp"
#include "vmm/monitor/ending.hpp"

namespace sandforge::vmm {

// Owned by the machine from here on, but for the log, which outlives it.
struct MachineFiles {
  int log = kLogFd;
  base::UniqueFd control, kvm, kernel, initrd, root, disk, agent;
  base::UniqueFd control_listener, file_server;  // may be empty
  struct LayerBelow {
    base::UniqueFd file;
    base::UniqueFd map_above;  // of the layer above this one
  };
  std::vector<LayerBelow> disk_layers;  // from the top down
};

struct Finished {
  Ending ending = Ending::PowerOff;
  std::string detail;  // may be empty
};

class Machine {
 public:
  virtual ~Machine() = default;

  // Errors: invalid_argument (kernel, initrd, disk, memory), unsupported, exhausted; nothing ran.
  static base::Result<std::unique_ptr<Machine>> create(const Config& config, MachineFiles files);

  // BLOCKS until the guest has ended. The vCPU threads are still there when it returns, held by the kernel or in a
  // hand-over that nobody serves: the process is expected to exit.
  virtual Finished run() = 0;
};

}  // namespace sandforge::vmm
