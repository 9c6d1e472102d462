// SPDX-License-Identifier: Apache-2.0
// Whole-file reads and durable writes for the image store. Everything here blocks on the disk.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::image {

// The whole of a regular file. More than `limit` bytes is exhausted "file_too_large".
base::Result<std::string> read_file(const std::filesystem::path& path, std::uint64_t limit);
base::Status write_all(int fd, std::string_view bytes, std::string_view what);
// Creates or truncates `path`, with `mode` under the umask; not synced.
base::Status write_file(const std::filesystem::path& path, std::string_view bytes, unsigned mode = 0644);
// Writes beside `path`, syncs, renames over it, syncs the directory: readers see the old or the new file, whole. Its
// mode is `mode`, whatever the umask says.
base::Status replace_file(const std::filesystem::path& path, std::string_view bytes, unsigned mode = 0644);
base::Status sync_path(const std::filesystem::path& path);
// mkdir -p, 0755 under the umask. A path that exists and is no directory is a conflict.
base::Status make_dirs(const std::filesystem::path& path);
base::Result<std::uint64_t> file_bytes(const std::filesystem::path& path);
// rm -rf that follows no link and carries on at errors; unreadable directories are made readable first.
void remove_tree(const std::filesystem::path& path) noexcept;

// An advisory lock on a file or directory, for the life of the object and across processes. Closed on exec.
class FileLock {
 public:
  enum class Mode { Shared, Exclusive };
  // Waits for the lock. A file that cannot be made because the store is read-only gives a lock that locks nothing.
  static base::Result<FileLock> wait(const std::filesystem::path& file, Mode mode);
  // Does not wait: `held` tells. For directories.
  static FileLock try_directory(const std::filesystem::path& directory);
  bool held() const noexcept { return static_cast<bool>(fd_); }

 private:
  explicit FileLock(base::UniqueFd fd) : fd_(std::move(fd)) {}
  base::UniqueFd fd_;
};

}  // namespace sandforge::image
