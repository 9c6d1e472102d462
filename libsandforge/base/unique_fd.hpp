// SPDX-License-Identifier: Apache-2.0
// UniqueFd: sole owner of a file descriptor. Every descriptor of the library is close-on-exec.
#pragma once

#include <unistd.h>

#include <cerrno>

#include <utility>

namespace sandforge::base {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) noexcept : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  ~UniqueFd() { reset(); }

  explicit operator bool() const noexcept { return fd_ >= 0; }
  int get() const noexcept { return fd_; }
  int release() noexcept { return std::exchange(fd_, -1); }
  // Keeps errno: closing is never what failed.
  void reset(int fd = -1) noexcept;

 private:
  int fd_ = -1;
};

inline void UniqueFd::reset(int fd) noexcept {
  if (fd_ >= 0) {
    const int saved = errno;
    ::close(fd_);
    errno = saved;
  }
  fd_ = fd;
}

}  // namespace sandforge::base
