// SPDX-License-Identifier: Apache-2.0
// Backend "linux-qemu": drives qemu-system-x86_64 -M microvm, on KVM where there is one and on an emulated CPU (TCG)
// where not.
#pragma once

#include <memory>
#include <string>

#include "backend/backend.hpp"

namespace sandforge::backend {

struct QemuOptions {
  std::string search_path;  // a PATH to find QEMU in; empty: the process's own, then the system's directories
  std::string kvm_device = "/dev/kvm";
  bool counted = false;  // see QemuMachine; needs the emulated CPU
};

// Environment of the process: SANDFORGE_QEMU_ICOUNT=1 sets `counted`. It is for measurements (test/perf) and nothing
// else: a counted guest runs several times slower and its clocks do not follow the host's.
QemuOptions qemu_options_from_environment();

std::unique_ptr<Backend> make_qemu_backend(QemuOptions options);

}  // namespace sandforge::backend
