// SPDX-License-Identifier: Apache-2.0
#include "agent/rooted_path.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include "agent/syscalls.hpp"
#include "base/limits.hpp"

namespace sandforge::agent {

namespace {
base::Error path_error(std::string_view path, int number) {
  return base::os_error(std::string(path.substr(0, 200)), number);
}

std::string_view without_slashes_at_end(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  return path;
}
}  // namespace

base::Status check_path(std::string_view path) {
  const auto invalid = [](const char* what) {
    return base::make_error(base::Code::InvalidArgument, "bad_path", what, "use an absolute path of the guest");
  };
  if (path.empty() || path.front() != '/') return invalid("the path is not absolute");
  if (path.size() >= limits::kPathMax) return invalid("the path is too long");
  if (path.find('\0') != std::string_view::npos) return invalid("the path has a NUL in it");
  return {};
}

base::Result<base::UniqueFd> open_in_root(int root, const std::string& path, int flags, unsigned mode,
                                          std::uint64_t extra_resolve) {
  const std::uint64_t resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | extra_resolve;
  int fd = -1;
  // EAGAIN: somebody renamed a directory meanwhile, so the kernel could not prove that it stayed inside.
  for (int attempt = 0; attempt < 64; ++attempt) {
    fd = sys_openat2(root, path.c_str(), static_cast<std::uint64_t>(flags) | O_CLOEXEC, mode, resolve);
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR)) break;
  }
  if (fd < 0) return path_error(path, errno);
  return base::UniqueFd(fd);
}

base::Result<base::UniqueFd> open_regular(int root, const std::string& path) {
  SANDFORGE_TRY(const base::UniqueFd handle, open_in_root(root, path, O_PATH));
  struct stat info {};
  if (::fstat(handle.get(), &info) != 0) return path_error(path, errno);
  if (S_ISDIR(info.st_mode)) return path_error(path, EISDIR);
  if (!S_ISREG(info.st_mode)) {
    return base::make_error(base::Code::Conflict, "not_a_file", "not a regular file");
  }
  // The very inode that was looked at, by the agent's own /proc.
  const std::string reopen = "/proc/self/fd/" + std::to_string(handle.get());
  base::UniqueFd file(::open(reopen.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file) return path_error(path, errno);
  return file;
}

base::Result<Place> open_parent(int root, std::string_view path) {
  SANDFORGE_TRY_STATUS(check_path(path));
  const std::string_view trimmed = without_slashes_at_end(path);
  const std::size_t slash = trimmed.rfind('/');
  const std::string_view name = trimmed.substr(slash + 1);
  if (name.empty() || name == "." || name == ".." || name.size() > 255) {
    return base::make_error(base::Code::InvalidArgument, "bad_path", "the path does not end in a name");
  }
  SANDFORGE_TRY(base::UniqueFd directory,
                open_in_root(root, std::string(trimmed.substr(0, slash + 1)), O_PATH | O_DIRECTORY));
  return Place{std::move(directory), std::string(name)};
}

base::Status make_directories(int root, std::string_view path, unsigned mode) {
  SANDFORGE_TRY_STATUS(check_path(path));
  for (std::size_t end = 1; end != std::string_view::npos;) {
    end = path.find('/', end);
    const std::string prefix(path.substr(0, end));
    if (end != std::string_view::npos) ++end;
    if (open_in_root(root, prefix, O_PATH | O_DIRECTORY)) continue;
    const std::string_view last = without_slashes_at_end(prefix);
    const std::string_view name = last.substr(last.rfind('/') + 1);
    if (name.empty() || name == "." || name == "..") continue;
    SANDFORGE_TRY(const Place place, open_parent(root, prefix));
    if (::mkdirat(place.directory.get(), place.name.c_str(), mode) != 0 && errno != EEXIST) {
      return path_error(prefix, errno);
    }
  }
  // Says so when a component turned out to be no directory.
  SANDFORGE_TRY(const base::UniqueFd made, open_in_root(root, std::string(path), O_PATH | O_DIRECTORY));
  return {};
}

}  // namespace sandforge::agent
