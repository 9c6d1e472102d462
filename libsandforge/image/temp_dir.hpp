// SPDX-License-Identifier: Apache-2.0
// TempDir: a directory for the intermediate files of one build or import, removed with the object.
#pragma once

#include <filesystem>
#include <utility>

#include "base/result.hpp"
#include "image/file_io.hpp"

namespace sandforge::image {

class TempDir {
 public:
  // Makes <parent>/<six random characters>, 0755, and flocks it, so that others can tell it from one whose process was
  // killed. The caller keeps collectors out meanwhile (the store does by its own lock).
  static base::Result<TempDir> make(const std::filesystem::path& parent);
  // Removes the directories in `parent` that no living process holds.
  static void collect(const std::filesystem::path& parent) noexcept;

  TempDir(TempDir&& other) noexcept : path_(std::exchange(other.path_, {})), lock_(std::move(other.lock_)) {}
  TempDir& operator=(TempDir&&) = delete;
  ~TempDir();

  const std::filesystem::path& path() const noexcept { return path_; }
  std::filesystem::path operator/(const char* name) const { return path_ / name; }

 private:
  TempDir(std::filesystem::path path, FileLock lock) : path_(std::move(path)), lock_(std::move(lock)) {}
  std::filesystem::path path_;
  FileLock lock_;
};

}  // namespace sandforge::image
