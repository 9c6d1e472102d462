// SPDX-License-Identifier: Apache-2.0
// Waiting for one descriptor, up to a point in time.
#pragma once

#include <poll.h>

#include <cerrno>
#include <chrono>

namespace sandforge::base {

// BLOCKS until one of `events` of poll(2), an error or a hang-up is there; false when the time is over first. Looks at
// least once.
inline bool wait_for(int fd, short events, std::chrono::steady_clock::time_point until) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    pollfd state{fd, events, 0};
    const int ready = ::poll(&state, 1, left.count() > 0 ? static_cast<int>(left.count()) : 0);
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

}  // namespace sandforge::base
