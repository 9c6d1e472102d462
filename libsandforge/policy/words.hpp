// SPDX-License-Identifier: Apache-2.0
// The words that values of a policy may be.
#pragma once

#include <array>
#include <string_view>

namespace sandforge::policy {

inline constexpr std::array<std::string_view, 3> kNetworkModes = {"offline", "fetch", "full"};
// By number: sandforge_isolation.
inline constexpr std::array<std::string_view, 4> kIsolations = {"none", "user_kernel", "software_vm", "hardware_vm"};
inline constexpr std::array<std::string_view, 6> kBackends = {"linux-kvm",    "linux-firecracker", "macos-vz",
                                                              "linux-gvisor", "linux-qemu",        "fake"};

}  // namespace sandforge::policy
