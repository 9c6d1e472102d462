// SPDX-License-Identifier: Apache-2.0
#include "engine/host_directory.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

namespace sandforge::engine {

base::Result<base::UniqueFd> open_judged(const policy::ResolvedDirectory& directory) {
  base::UniqueFd fd(::open(directory.path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat info {};
  const int failed = fd && ::fstat(fd.get(), &info) == 0 ? 0 : errno;
  const bool is_gone = failed == ENOENT || failed == ENOTDIR || failed == ELOOP;  // or has a symlink in its place
  if (failed != 0 && !is_gone) return base::os_error("open " + printable(directory.path), failed);
  if (is_gone || info.st_dev != directory.device || info.st_ino != directory.inode) {
    return base::make_error(base::Code::Busy, "host_path_changed",
                            fmt::format("\"{}\" was replaced while it was looked at", printable(directory.path)),
                            "try again when nothing renames it");
  }
  return fd;
}

base::Result<base::UniqueFd> open_host_directory(const policy::Policy& policy, const Mount& mount) {
  const policy::MountVerdict judged = policy::evaluate_mount(policy, mount.host_path, mount.read_only);
  if (!judged.verdict.allowed) return policy::to_error(judged.verdict, "mount");
  return open_judged(judged.directory);
}

}  // namespace sandforge::engine
