// SPDX-License-Identifier: Apache-2.0
// Paths of the host: what form they must have, where they lead, and which lies within which. Compared by component.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace sandforge::policy {

// Absolute, no NUL, no ".." component, shorter than limits::kPathMax. Errors: invalid_argument "invalid_host_path".
base::Status check_host_path(std::string_view path);

// Without empty and "." components and without a slash at the end; "/" stays. Of a path that check_host_path took.
std::string cleaned(std::string_view path);

// Whether `path` is `folder` or lies below it: /home/user2 does not lie in /home/user. Both are cleaned.
bool is_within(std::string_view path, std::string_view folder) noexcept;
inline bool is_strictly_within(std::string_view path, std::string_view folder) noexcept {
  return path != folder && is_within(path, folder);
}

// What a path led to when it was looked at. Whoever opens it later compares: `device` and `inode` are of the directory
// that was judged, and fstat of what was opened (without following a symlink: there is none in `path`) must give both.
struct ResolvedDirectory {
  std::string path;  // no symlink, no "."
  std::uint64_t device = 0, inode = 0;
  uid_t owner = 0;
};
// Follows symlinks. Waits for the file system that the path is on, as long as that takes.
// Errors: invalid_argument "invalid_host_path" (form; not a directory; a loop of symlinks), not_found
// "host_path_missing", denied "host_path_denied", busy "host_path_changed" (it was replaced meanwhile), others by
// errno.
base::Result<ResolvedDirectory> resolve_directory(const std::string& path);

// Where `path` leads, if all of it exists; the cleaned path itself otherwise. For the entries of lists.
std::string resolved_or_same(const std::string& path);

}  // namespace sandforge::policy
