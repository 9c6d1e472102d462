// SPDX-License-Identifier: Apache-2.0
#include "base/pseudo_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/unique_fd.hpp"

namespace sandforge::base {

std::string read_pseudo_file(const std::string& path, std::size_t cap) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text(fd ? cap : 0, '\0');
  std::size_t length = 0;
  while (length < text.size()) {
    const ssize_t n = ::read(fd.get(), text.data() + length, text.size() - length);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    length += static_cast<std::size_t>(n);
  }
  text.resize(length);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace sandforge::base
