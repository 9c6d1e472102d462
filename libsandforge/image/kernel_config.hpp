// SPDX-License-Identifier: Apache-2.0
// Configurations of the Linux kernel, as text: what a fragment asks for, and what a full configuration refused it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sandforge::image {

// Goes up when the same source and configuration give another kernel than before: when what is changed in the source or
// how it is compiled changes (kernel_build.cpp).
inline constexpr int kKernelBuildFormat = 2;

// The lines of `config` that say something, in order: "CONFIG_X=…" and "# CONFIG_X is not set". Comments and blank
// lines do not, so they change no build.
std::vector<std::string_view> config_lines(std::string_view config);

// The lines of `wanted` that `granted` (a .config) does not honour: a value that is another or not there, or an option
// that is set although it was to be off. An option that the sources no longer know counts as refused when it was to be
// on, and as honoured when it was to be off.
std::vector<std::string_view> refused_lines(std::string_view wanted, std::string_view granted);

}  // namespace sandforge::image
