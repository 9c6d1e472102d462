// SPDX-License-Identifier: Apache-2.0
// Console: the agent's own log lines, for people who debug a boot. Short, rate-limited, never from a task's bytes.
#pragma once

#include <cstdint>
#include <string_view>

namespace sandforge::agent {

class Console {
 public:
  // `fd` is borrowed and outlives the console: /dev/console in a guest, stderr otherwise.
  explicit Console(int fd) noexcept : fd_(fd) {}

  void use(int fd) noexcept { fd_ = fd; }
  // Writes "sandforge-agent: text\n". At most kBurst lines in a window of ten seconds; what was left out is counted and
  // told with the next line. Control characters become '?'. Loop thread only.
  void line(std::string_view text) noexcept;

 private:
  static constexpr unsigned kBurst = 40;
  static constexpr std::int64_t kWindowNs = 10'000'000'000;

  int fd_;
  std::int64_t window_start_ns_ = 0;
  unsigned in_window_ = 0;
  unsigned left_out_ = 0;
};

}  // namespace sandforge::agent
