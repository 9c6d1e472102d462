// SPDX-License-Identifier: Apache-2.0
// A directory for one test case, and short ways to fill and read it.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "image/file_io.hpp"

namespace sandforge::image::test {

namespace fs = std::filesystem;

class Scratch {
 public:
  Scratch() {
    std::string name = (fs::temp_directory_path() / "sandforge-image-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~Scratch() { remove_tree(path_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  const fs::path& path() const { return path_; }
  fs::path operator/(std::string_view name) const { return path_ / name; }
  // Writes a file, its directories first.
  fs::path write(std::string_view name, std::string_view content) const {
    fs::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << content;
    return path_ / name;
  }

 private:
  fs::path path_;
};

inline std::string slurp(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Of a host program; for what a test prepares and checks.
inline int shell(const std::string& command) { return ::system(command.c_str()); }

}  // namespace sandforge::image::test
