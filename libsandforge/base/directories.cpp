// SPDX-License-Identifier: Apache-2.0
#include "base/directories.hpp"

#include <unistd.h>

#include <cstdlib>

namespace sandforge::base {
namespace fs = std::filesystem;

fs::path path_from_environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && value[0] == '/' ? fs::path(value) : fs::path();
}

fs::path default_data_dir() {
  if (::geteuid() == 0) return "/var/lib/sandforge";
  if (const fs::path state = path_from_environment("XDG_STATE_HOME"); !state.empty()) return state / "sandforge";
  if (const fs::path home = path_from_environment("HOME"); !home.empty()) return home / ".local/state/sandforge";
  return {};
}

}  // namespace sandforge::base
