// SPDX-License-Identifier: Apache-2.0
// The one explicit table of backends.
#include "backend/backend.hpp"
#include "backend/fake/backend.hpp"
#include "backend/kvm/backend.hpp"
#include "backend/qemu/backend.hpp"

namespace sandforge::backend {

std::vector<std::unique_ptr<Backend>> make_backends(const std::filesystem::path& helper_directory) {
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(make_kvm_backend({.helper_directory = helper_directory}));
  backends.push_back(make_qemu_backend(qemu_options_from_environment()));
  backends.push_back(make_fake_backend());
  return backends;
}

}  // namespace sandforge::backend
