// SPDX-License-Identifier: Apache-2.0
// QEMU's argument vector, as a pure function: what kind of machine a guest gets, and what QEMU itself may do.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sandforge::backend {

// The descriptors that QEMU is started with, by number; it opens none of the sandbox's files by path.
struct QemuDescriptors {
  int log = 1;    // stdout and stderr: its own words and the guest's serial port
  int agent = 3;  // listening stream socket
  int kernel = 4, initrd = 5, root = 6, disk = 7;
  int file_server = 8;  // connected stream socket
};

struct QemuMachine {
  std::uint32_t cpus = 1;
  std::uint64_t memory_mib = 0;
  bool kvm = false;
  bool counted = false;  // for measurements: one instruction is one nanosecond of guest time, idle time is skipped
  bool file_server = false;
  std::string kernel_command_line;
};

// The port that the agent looks for in /sys/class/virtio-ports/*/name.
inline constexpr const char* kAgentPort = "org.sandforge.agent.0";

std::vector<std::string> qemu_arguments(const QemuMachine& machine, const QemuDescriptors& fds = {});

}  // namespace sandforge::backend
