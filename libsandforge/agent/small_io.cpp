// SPDX-License-Identifier: Apache-2.0
#include "agent/small_io.hpp"

#include <fcntl.h>
#include <unistd.h>

#include "base/unique_fd.hpp"

namespace sandforge::agent {

base::Result<std::string> read_open_file(int fd, std::size_t cap) {
  std::string text(cap, '\0');
  std::size_t used = 0;
  while (used < cap) {
    const ssize_t n = ::pread(fd, text.data() + used, cap - used, static_cast<off_t>(used));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::os_error("read");
    if (n == 0) break;
    used += static_cast<std::size_t>(n);
  }
  text.resize(used);
  return text;
}

base::Result<std::string> read_small_file(int directory, const char* path, std::size_t cap) {
  const base::UniqueFd fd(::openat(directory, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return base::os_error(path);
  return read_open_file(fd.get(), cap);
}

base::Status write_small_file(int directory, const char* path, std::string_view text) {
  const base::UniqueFd fd(::openat(directory, path, O_WRONLY | O_CLOEXEC));
  if (!fd) return base::os_error(path);
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) return base::os_error(path);
  return {};
}

base::Status write_whole(int fd, std::string_view bytes, std::string_view what) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::os_error(what);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

bool read_whole(int fd, char* bytes, std::size_t length) {
  while (length > 0) {
    const ssize_t n = ::read(fd, bytes, length);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes += n;
    length -= static_cast<std::size_t>(n);
  }
  return true;
}

std::string_view trimmed(std::string_view text) noexcept {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

}  // namespace sandforge::agent
