// SPDX-License-Identifier: Apache-2.0
#include "base/helpers.hpp"

#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <vector>

#include "base/build_paths.hpp"  // written by the build: SANDFORGE_HELPER_DIR

namespace sandforge::base {
namespace fs = std::filesystem;
namespace {

// The folder of the file that this code was loaded from: the shared library, or the program it is linked into.
fs::path library_folder() {
  Dl_info info{};
  if (::dladdr(reinterpret_cast<const void*>(&find_helper), &info) == 0 || info.dli_fname == nullptr) return {};
  std::error_code error;
  fs::path file = fs::canonical(info.dli_fname, error);
  if (error) return {};
  return file.parent_path();
}

std::vector<fs::path> folders(const fs::path& helper_dir) {
  if (!helper_dir.empty()) return {helper_dir};
  std::vector<fs::path> all;
  if (const char* from_env = std::getenv("SANDFORGE_HELPER_DIR"); from_env != nullptr && *from_env != '\0') {
    all.emplace_back(from_env);
  }
  if (const fs::path beside = library_folder(); !beside.empty()) {
    all.push_back(beside);
    // Build tree: beside the shared library, and from a test program.
    for (const char* room : {"agent", "fsd", "vmm"}) {
      all.push_back(beside / room);
      all.push_back(beside / ".." / ".." / "libsandforge" / room);
    }
  }
  all.emplace_back(SANDFORGE_HELPER_DIR);
  return all;
}

}  // namespace

Result<fs::path> find_helper(std::string_view name, const fs::path& helper_dir) {
  std::string tried;
  for (const fs::path& folder : folders(helper_dir)) {
    const fs::path file = folder / name;
    if (::access(file.c_str(), R_OK) == 0) {
      std::error_code error;
      const fs::path canonical = fs::canonical(file, error);
      return error ? file : canonical;
    }
    tried += fmt::format("{}{}", tried.empty() ? "" : ", ", folder.string());
  }
  return make_error(Code::NotFound, "helper_missing", fmt::format("the helper \"{}\" was not found in {}", name, tried),
                    "install Sandforge completely, or set SANDFORGE_HELPER_DIR to the folder that holds it");
}

}  // namespace sandforge::base
