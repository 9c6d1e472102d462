// SPDX-License-Identifier: Apache-2.0
// Backend "linux-kvm": each guest under a sandforge-vmm of its own, on this host's KVM.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "backend/backend.hpp"

namespace sandforge::backend {

struct KvmOptions {
  std::filesystem::path helper_directory;  // where sandforge-vmm is; empty: see base/helpers.hpp
  std::string device = "/dev/kvm";
};

std::unique_ptr<Backend> make_kvm_backend(KvmOptions options);

}  // namespace sandforge::backend
