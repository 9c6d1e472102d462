// SPDX-License-Identifier: Apache-2.0
// Makes an image of a root file system that somebody else built.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.hpp"
#include "image/manifest.hpp"
#include "image/store.hpp"
#include "image/tool.hpp"

namespace sandforge::image {

// Imports `root` as image `name`, replacing one of that name:
//  - a directory: taken as it is, but for what is in its /dev, /proc, /run and /sys;
//  - an OCI image layout: a directory (or a tar of one) with "oci-layout" and "index.json"; its linux/amd64 image;
//  - any other file: a tar, compressed or not.
// `kernel`: a bzImage or vmlinux whose modules are in the root's lib/modules; empty: kernel and modules of image
// "default". Owners are kept when the caller is root, else all is root's. Warnings come as steps "warning: …" of
// `progress`. An import that fails leaves nothing behind. BLOCKS.
// Errors: invalid_argument ("unsafe_archive", "empty_root", "not_an_image", "not_a_kernel"), not_found ("image_missing"
// without a default image, "module_missing"), corrupt ("oci_corrupt"), exhausted ("import_too_large"), unsupported.
base::Result<Manifest> import_image(Store& store, const std::string& name, const std::filesystem::path& root,
                                    const std::filesystem::path& kernel, const Progress& progress);

}  // namespace sandforge::image
