// SPDX-License-Identifier: Apache-2.0
// Whole small files of the kernel's pseudo file systems: read with a cap, write in one call. Whole buffers.
#pragma once

#include <string>
#include <string_view>

#include "base/result.hpp"

namespace sandforge::agent {

// The first `cap` bytes of the file. Blocks as the file system does.
base::Result<std::string> read_small_file(int directory, const char* path, std::size_t cap = 4096);
// One write() to an existing file, as sysfs and cgroupfs want it.
base::Status write_small_file(int directory, const char* path, std::string_view text);
// From the start of an open descriptor, with pread.
base::Result<std::string> read_open_file(int fd, std::size_t cap = 4096);
// As often as it takes; to and from descriptors that block. read_whole is false at an early end, too.
base::Status write_whole(int fd, std::string_view bytes, std::string_view what);
bool read_whole(int fd, char* bytes, std::size_t length);
// Text without blanks and newlines at its end.
std::string_view trimmed(std::string_view text) noexcept;

}  // namespace sandforge::agent
