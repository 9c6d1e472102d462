// SPDX-License-Identifier: Apache-2.0
#include "fsd/tree/host.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace sandforge::fsd {
namespace {

constexpr std::uint64_t kResolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;

int open_with(int directory, const char* name, std::uint64_t flags, std::uint64_t mode, base::UniqueFd& out) noexcept {
  struct open_how how {};
  how.flags = flags | O_CLOEXEC | O_NOFOLLOW;
  how.mode = mode;
  how.resolve = kResolve;
  long fd = -1;
  do {
    fd = ::syscall(SYS_openat2, directory, name, &how, sizeof how);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return errno;
  out.reset(static_cast<int>(fd));
  return 0;
}

}  // namespace

int look_at(int fd, Facts& facts) noexcept {
  constexpr unsigned kWanted = STATX_BASIC_STATS | STATX_BTIME;
  return ::statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, kWanted, &facts) == 0 ? 0 : errno;
}

int refer(int directory, const char* name, base::UniqueFd& out) noexcept {
  return open_with(directory, name, O_PATH, 0, out);
}

int open_in(int directory, const char* name, int flags, unsigned mode, base::UniqueFd& out) noexcept {
  return open_with(directory, name, static_cast<std::uint64_t>(flags | O_NONBLOCK | O_NOCTTY), mode, out);
}

}  // namespace sandforge::fsd
