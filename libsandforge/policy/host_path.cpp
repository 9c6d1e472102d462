// SPDX-License-Identifier: Apache-2.0
#include "policy/host_path.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cstdlib>
#include <memory>

#include "base/limits.hpp"
#include "base/printable.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::policy {
namespace {

using base::Code;

#ifdef O_PATH
constexpr int kLookFlags = O_PATH | O_CLOEXEC | O_NONBLOCK;
#else
constexpr int kLookFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
#endif

base::Error invalid(std::string message, std::string remedy) {
  return base::make_error(Code::InvalidArgument, "invalid_host_path", std::move(message), std::move(remedy));
}

struct Freer {
  void operator()(char* text) const noexcept { std::free(text); }
};
// Empty when it cannot be told; errno then says why.
std::string real_path(const std::string& path) {
  const std::unique_ptr<char, Freer> real(::realpath(path.c_str(), nullptr));
  return real == nullptr ? std::string() : std::string(real.get());
}

base::Error cannot_resolve(const std::string& path, int number) {
  const std::string shown = base::printable(path);
  base::Error error;
  switch (number) {
    case ENOENT:
      error = base::make_error(Code::NotFound, "host_path_missing", fmt::format("\"{}\" does not exist", shown),
                               "create the directory, or correct the path");
      break;
    case ENOTDIR: error = invalid(fmt::format("a part of \"{}\" is no directory", shown), "name a directory"); break;
    case ENAMETOOLONG:
      error = invalid(fmt::format("a part of \"{}\" is longer than the file system allows", shown),
                      "use the name that the directory has");
      break;
    case ELOOP: error = invalid(fmt::format("\"{}\" is a loop of symlinks", shown), "name the directory itself"); break;
    case EACCES:
    case EPERM:
      error = base::make_error(Code::Denied, "host_path_denied",
                               fmt::format("the user that sandboxes run as may not look at \"{}\"", shown),
                               "give that user the right to search every directory of the path");
      break;
    default: return base::os_error(fmt::format("cannot look at \"{}\"", shown), number);
  }
  error.os_errno = number;
  return error;
}

}  // namespace

base::Status check_host_path(std::string_view path) {
  if (path.empty()) return invalid("the path is empty", "name a directory of the host, by its absolute path");
  if (path.find('\0') != std::string_view::npos) {
    return invalid("the path holds a NUL byte", "remove the NUL byte; no path of a host has one");
  }
  if (path.front() != '/') {
    return invalid(fmt::format("\"{}\" is not absolute", base::printable(path)),
                   "write the whole path, from \"/\" on: it would else depend on where the engine was started");
  }
  if (path.size() >= limits::kPathMax) {
    return invalid(fmt::format("the path has {} bytes, but at most {} are allowed", path.size(), limits::kPathMax - 1),
                   "use a shorter path");
  }
  for (std::size_t begin = 1; begin < path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    if (path.substr(begin, end - begin) == "..") {
      return invalid(fmt::format("\"{}\" has a component \"..\"", base::printable(path)),
                     "write the path without \"..\", so that it says what is meant");
    }
    begin = end + 1;
  }
  return {};
}

std::string cleaned(std::string_view path) {
  std::string out;
  for (std::size_t begin = 0; begin < path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (!part.empty() && part != ".") out.append("/").append(part);
    begin = end + 1;
  }
  return out.empty() ? "/" : out;
}

bool is_within(std::string_view path, std::string_view folder) noexcept {
  if (folder == "/") return path.starts_with('/');
  if (!path.starts_with(folder)) return false;
  return path.size() == folder.size() || path[folder.size()] == '/';
}

base::Result<ResolvedDirectory> resolve_directory(const std::string& path) {
  SANDFORGE_TRY_STATUS(check_host_path(path));
  const base::UniqueFd fd(::open(path.c_str(), kLookFlags));
  struct stat info {};
  if (!fd || ::fstat(fd.get(), &info) != 0) return cannot_resolve(path, errno);
  if (!S_ISDIR(info.st_mode)) {
    base::Error error = invalid(fmt::format("\"{}\" is not a directory", base::printable(path)),
                                "mount the directory that it is in, or copy the file in with write_file");
    error.os_errno = ENOTDIR;
    return error;
  }
  ResolvedDirectory found;
  found.path = real_path(path);
  if (found.path.empty()) return cannot_resolve(path, errno);
  // The two looks at the path must have met the same directory.
  struct stat again {};
  if (::lstat(found.path.c_str(), &again) != 0) return cannot_resolve(path, errno);
  if (again.st_dev != info.st_dev || again.st_ino != info.st_ino) {
    return base::make_error(Code::Busy, "host_path_changed",
                            fmt::format("\"{}\" was replaced while it was looked at", base::printable(path)),
                            "try again when nothing renames it");
  }
  found.device = static_cast<std::uint64_t>(info.st_dev);
  found.inode = static_cast<std::uint64_t>(info.st_ino);
  found.owner = info.st_uid;
  return found;
}

std::string resolved_or_same(const std::string& path) {
  std::string real = real_path(path);
  return real.empty() ? path : real;
}

}  // namespace sandforge::policy
