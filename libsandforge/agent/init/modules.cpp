// SPDX-License-Identifier: Apache-2.0
#include "agent/init/modules.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "agent/small_io.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::agent {

void load_modules(int directory, const char* list, Console& console) {
  const auto order = read_small_file(directory, list, 64 * 1024);
  if (!order) return;  // a kernel with everything built in brings none
  std::string_view rest = order.value();
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    const std::string name(trimmed(rest.substr(0, end)));
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    if (name.empty() || name.front() == '#') continue;
    const base::UniqueFd file(::openat(directory, name.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) continue;
    if (::syscall(SYS_finit_module, file.get(), "", 0) != 0 && errno != EEXIST) {
      console.line("module " + name + ": " + std::strerror(errno));
    }
    ::unlinkat(directory, name.c_str(), 0);
  }
}

void remove_files(int fd) {
  DIR* const entries = ::fdopendir(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (entries == nullptr) return;
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(entries)) names.emplace_back(entry->d_name);
  ::closedir(entries);
  for (const std::string& name : names) {
    if (name != "." && name != "..") ::unlinkat(fd, name.c_str(), 0);
  }
}

}  // namespace sandforge::agent
