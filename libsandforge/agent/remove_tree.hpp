// SPDX-License-Identifier: Apache-2.0
// Removing a directory with all that is in it, by descriptors, following no symlink.
#pragma once

#include <functional>
#include <string>

#include "base/result.hpp"

namespace sandforge::agent {

// Removes `name` in the directory `parent`. BLOCKS; stops early and without error when `stop` says true. Trees deeper
// than limits::kTreeDepthMax are refused: one descriptor is held per level.
base::Status remove_tree(int parent, const std::string& name, const std::function<bool()>& stop);

}  // namespace sandforge::agent
