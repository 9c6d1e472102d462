// SPDX-License-Identifier: Apache-2.0
// Where mounts may be in a guest: nowhere that hides the guest from itself, and none over another.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "engine/spec.hpp"

namespace sandforge::engine {

// Absolute, no NUL, no ".."; not "/", and not /proc, /sys or /dev nor below them. Answers the path without empty and
// "." components and without a slash at the end. Errors: invalid_argument "invalid_spec".
base::Result<std::string> check_mount_target(std::string_view guest_path);

// All mounts of a sandbox: not too many, every host path has its form, every guest path is as above and none is or
// contains another. Makes the guest paths what check_mount_target answers. Errors: invalid_argument "invalid_spec"
// naming the mount.
base::Status check_mounts(std::vector<Mount>& mounts);

}  // namespace sandforge::engine
