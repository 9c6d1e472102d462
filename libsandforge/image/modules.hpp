// SPDX-License-Identifier: Apache-2.0
// Kernel modules of a guest: which files, in which order, as the archive that goes into the initrd.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace sandforge::image {

struct ModuleArchive {
  std::string cpio;                // modules/order, modules/order-mounts, modules/NN-name.ko
  std::vector<std::string> names;  // in load order, as in modules/order
};

// Modules by name; what they need comes by itself.
struct ModulesWanted {
  std::vector<std::string> boot;    // loaded by every guest
  std::vector<std::string> mounts;  // loaded with the first mount of a host's directory
};

// What `modprobe --show-depends` prints: the paths of its insmod lines, in order. Built-in modules give none.
std::vector<std::filesystem::path> parse_show_depends(std::string_view output);

// A module without the signature that distributions append to it. Checking it is a third of a guest's boot (230 M of
// 677 M instructions for 14 modules), and vouches for nothing here: an image's modules are known by their digest.
std::string_view without_signature(std::string_view module);

// Finds `wanted` and what they need in <tree>/lib/modules/<release>, which it indexes anew (depmod). Modules that are
// built into the kernel are left out; others that do not exist are an error that names all of them, but for those of
// mounts: a guest boots without. `temp` is for intermediate files. Signatures are left off, unless the kernel insists
// on them or does not tell in boot/config-<release>. BLOCKS. Errors: not_found "module_missing"; those of run_tool.
base::Result<ModuleArchive> archive_modules(const std::filesystem::path& tree, std::string_view release,
                                            const ModulesWanted& wanted, const std::filesystem::path& temp);

}  // namespace sandforge::image
