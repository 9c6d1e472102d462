// SPDX-License-Identifier: Apache-2.0
// Puts an unpacked OCI layer onto the layers below it.
#pragma once

#include <filesystem>

#include "base/result.hpp"

namespace sandforge::image {

// Moves what is in `layer` into `root`; both on one file system, and nobody else writes to them. Whiteouts (".wh.NAME")
// remove NAME, ".wh..wh..opq" all that lower layers have in its directory. A directory where `root` has a link to a
// directory goes where the link leads, within `root`. No link is followed out of `root`, whatever either tree holds.
// `layer` is left with nothing but directories and whiteouts. Errors: exhausted "import_too_deep", of system calls.
// SPEC: OCI Image Format Specification, layer.md, "Applying Changesets".
base::Status apply_layer(const std::filesystem::path& layer, const std::filesystem::path& root);

}  // namespace sandforge::image
