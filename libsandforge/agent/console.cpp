// SPDX-License-Identifier: Apache-2.0
#include "agent/console.hpp"

#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "agent/clock.hpp"

namespace sandforge::agent {

void Console::line(std::string_view text) noexcept {
  const std::int64_t now = monotonic_ns();
  if (now - window_start_ns_ > kWindowNs) {
    window_start_ns_ = now;
    in_window_ = 0;
  }
  if (++in_window_ > kBurst) {
    ++left_out_;
    return;
  }
  char buffer[320];
  int length = 0;
  if (left_out_ > 0) {
    length = std::snprintf(buffer, sizeof(buffer), "sandforge-agent: (%u lines left out)\n", left_out_);
    left_out_ = 0;
  }
  constexpr std::string_view kPrefix = "sandforge-agent: ";
  std::size_t used = static_cast<std::size_t>(length);
  std::memcpy(buffer + used, kPrefix.data(), kPrefix.size());
  used += kPrefix.size();
  for (const char c : text) {
    if (used + 1 >= sizeof(buffer)) break;
    buffer[used++] = (c >= ' ' && c < 127) ? c : '?';
  }
  buffer[used++] = '\n';
  // A console that takes no bytes loses the line: nobody waits for it.
  [[maybe_unused]] const auto ignored = ::write(fd_, buffer, used);
}

}  // namespace sandforge::agent
