// SPDX-License-Identifier: Apache-2.0
// A directory for the life of one command.
#pragma once

#include <sandforge/error.hpp>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>

namespace sandforge::cli {

// Private to this user, removed with everything in it. Throws sandforge::Internal where it cannot be made.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    const char* base = std::getenv("TMPDIR");
    path_ = std::string(base != nullptr && *base != '\0' ? base : "/tmp") + "/sandforge-XXXXXX";
    if (::mkdtemp(path_.data()) == nullptr) {
      throw Internal("state_dir", "cannot create a temporary directory " + path_ + ": " + std::strerror(errno),
                     "set TMPDIR to a directory that you may write to", errno);
    }
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace sandforge::cli
