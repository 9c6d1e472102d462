// SPDX-License-Identifier: Apache-2.0
// Leaves a helper process with nothing but the descriptors it was given: an empty file system, no network, no other
// processes' objects, no capabilities, hard limits on what it may use. The threads' system calls are confined later, by
// jail/filter.hpp.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.hpp"

namespace sandforge::jail {

struct Limits {
  std::uint64_t open_files;  // as many as the process may have had before, at most
  std::uint64_t file_bytes;  // of any file that it writes
};

struct Options {
  int last_descriptor = 2;  // all above it are closed
  Limits limits{};
  // No path by Landlock either, where the kernel has it. Not for who opens files below directories that it was given.
  bool forbid_paths = true;
  // Its own user and group are 0 in its user namespace, and everybody else is nobody. Otherwise nobody has an id.
  bool own_id_is_zero = false;
};

// Before anything is read that others wrote, in a process with one thread. Works for any user, by a user namespace.
// Errors: denied "user_namespaces" with a remedy, where the host forbids them; those of the calls otherwise.
base::Status enter(const Options& options);

// When it is known what there is to write: no file may become longer than the longest of these, borrowed, is now.
base::Status limit_file_size(std::span<const int> files);

// Once all threads run that there shall be. Not earlier: kernels before 5.14 count all processes of the user.
base::Status forbid_threads();

// Makes the id with which this process entered its new user namespace 0 in there. Before it has lost /proc.
base::Status map_own_id_to_zero(std::uint32_t uid, std::uint32_t gid);

// The error for a host that forbids user namespaces, of a failed call with this errno.
base::Error no_user_namespaces(const char* what, int number);

}  // namespace sandforge::jail
