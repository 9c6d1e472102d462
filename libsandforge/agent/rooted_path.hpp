// SPDX-License-Identifier: Apache-2.0
// Paths inside the guest's root: resolved by the kernel as if after chroot, so that no symlink, `..` or magic link of
// the guest leads the agent out of it. Everything here BLOCKS as the guest's file systems do.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::agent {

// invalid_argument unless the path is absolute, without NUL, and at most limits::kPathMax long.
base::Status check_path(std::string_view path);

// `flags` as for open(2); O_CLOEXEC is added. `extra_resolve`: RESOLVE_* beyond IN_ROOT and NO_MAGICLINKS.
base::Result<base::UniqueFd> open_in_root(int root, const std::string& path, int flags, unsigned mode = 0,
                                          std::uint64_t extra_resolve = 0);

// A regular file, open for reading. Never opens anything else (a FIFO would block, a device could do anything).
base::Result<base::UniqueFd> open_regular(int root, const std::string& path);

// The directory that holds the last component, and that component. The path must not end in "/", "." or "..".
struct Place {
  base::UniqueFd directory;
  std::string name;
};
base::Result<Place> open_parent(int root, std::string_view path);

// Every directory of the path that is missing is made with `mode`.
base::Status make_directories(int root, std::string_view path, unsigned mode);

}  // namespace sandforge::agent
