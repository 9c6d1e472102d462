// SPDX-License-Identifier: Apache-2.0
#include "image/temp_dir.hpp"

#include <sys/stat.h>

#include <cstdlib>
#include <system_error>

namespace sandforge::image {

namespace fs = std::filesystem;

base::Result<TempDir> TempDir::make(const fs::path& parent) {
  SANDFORGE_TRY_STATUS(make_dirs(parent));
  std::string name = (parent / "XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) return base::os_error("cannot create a directory in " + parent.string());
  // The package manager drops its privileges to download, and must be able to reach what it downloads to.
  ::chmod(name.c_str(), 0755);
  FileLock lock = FileLock::try_directory(name);
  if (!lock.held()) {
    const base::Error error = base::os_error("cannot lock " + name);
    ::rmdir(name.c_str());
    return error;
  }
  return TempDir(std::move(name), std::move(lock));
}

void TempDir::collect(const fs::path& parent) noexcept {
  std::error_code error;
  for (auto entry = fs::directory_iterator(parent, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    const FileLock lock = FileLock::try_directory(entry->path());
    if (lock.held()) remove_tree(entry->path());
  }
}

TempDir::~TempDir() {
  if (!path_.empty()) remove_tree(path_);
}

}  // namespace sandforge::image
