// SPDX-License-Identifier: Apache-2.0
#include "agent/remove_tree.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <string_view>
#include <vector>

#include "base/limits.hpp"

namespace sandforge::agent {

namespace {
struct DirectoryCloser {
  void operator()(DIR* directory) const noexcept { ::closedir(directory); }
};

struct Level {
  std::unique_ptr<DIR, DirectoryCloser> entries;
  std::string name;
};

base::Result<Level> enter(int parent, const std::string& name) {
  const int fd = ::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return base::os_error(name);
  Level level{std::unique_ptr<DIR, DirectoryCloser>(::fdopendir(fd)), name};
  if (!level.entries) {
    ::close(fd);
    return base::os_error(name);
  }
  return level;
}
}  // namespace

base::Status remove_tree(int parent, const std::string& name, const std::function<bool()>& stop) {
  std::vector<Level> levels;
  SANDFORGE_TRY(Level top, enter(parent, name));
  levels.push_back(std::move(top));
  while (!levels.empty() && !stop()) {
    DIR* const entries = levels.back().entries.get();
    errno = 0;
    const dirent* const entry = ::readdir(entries);
    if (entry == nullptr) {
      if (errno != 0) return base::os_error(levels.back().name);
      const std::string done = std::move(levels.back().name);
      levels.pop_back();
      const int above = levels.empty() ? parent : ::dirfd(levels.back().entries.get());
      if (::unlinkat(above, done.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) return base::os_error(done);
      continue;
    }
    const std::string child = entry->d_name;
    if (child == "." || child == "..") continue;
    const int here = ::dirfd(entries);
    if (::unlinkat(here, child.c_str(), 0) == 0 || errno == ENOENT) continue;
    if (errno != EISDIR && errno != EPERM) return base::os_error(child);
    if (levels.size() >= limits::kTreeDepthMax) {
      return base::make_error(base::Code::Exhausted, "too_deep", "the directory tree is too deep");
    }
    SANDFORGE_TRY(Level next, enter(here, child));
    levels.push_back(std::move(next));
  }
  return {};
}

}  // namespace sandforge::agent
