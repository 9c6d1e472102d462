// SPDX-License-Identifier: Apache-2.0
// The few ways in which this process looks at the host's file system. Names are single components, taken relative to a
// directory's descriptor; no symbolic link is followed, no other mount entered, and only regular files and directories
// are ever opened.
#pragma once

#include <sys/stat.h>

#include <cstdint>

#include "base/unique_fd.hpp"

namespace sandforge::fsd {

using Facts = struct statx;

// All three: 0, or an errno. Any of them BLOCKS for as long as the host's file system does.

// Of what the descriptor refers to (O_PATH will do).
int look_at(int fd, Facts& facts) noexcept;

// `name` in `directory` as a descriptor that can do nothing but refer (O_PATH), a symbolic link itself included.
// `name` is a C string that check_name() passed. Errors: EXDEV for another file system mounted there.
int refer(int directory, const char* name, base::UniqueFd& out) noexcept;

// Opens `name`, or "." for `directory` itself, with `flags` and, for what is created, `mode`. Never waits for the other
// end of a FIFO. What it opened is not checked here: see is_plain().
int open_in(int directory, const char* name, int flags, unsigned mode, base::UniqueFd& out) noexcept;

inline bool is_kind(const Facts& facts, unsigned kind) noexcept { return (facts.stx_mode & S_IFMT) == kind; }
inline bool is_plain(const Facts& facts) noexcept { return is_kind(facts, S_IFREG) || is_kind(facts, S_IFDIR); }
inline std::uint64_t device_of(const Facts& facts) noexcept {
  return std::uint64_t{facts.stx_dev_major} << 32 | facts.stx_dev_minor;
}
inline std::int64_t nanoseconds(const statx_timestamp& time) noexcept {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000u + time.tv_nsec);
}

}  // namespace sandforge::fsd
