// SPDX-License-Identifier: Apache-2.0
// Event descriptors: a count that threads and the kernel add to, readable while it is not zero.
#pragma once

#include <sys/eventfd.h>

#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::base {

// Zero, non-blocking. Errors: exhausted.
inline Result<UniqueFd> make_event() {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) return os_error("make an event descriptor");
  return fd;
}

}  // namespace sandforge::base
