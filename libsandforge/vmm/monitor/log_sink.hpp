// SPDX-License-Identifier: Apache-2.0
// The guest's log on its way out: collected by line, written without waiting, and no more than a cap in all.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/limits.hpp"

namespace sandforge::vmm {

// Device loop thread only. `fd` is borrowed and non-blocking: what its reader does not take is lost.
class LogSink {
 public:
  LogSink(int fd, std::size_t cap) : fd_(fd), left_(cap) {}

  void put(char byte);
  // Whole lines of the monitor's own; not counted against the cap.
  void line(std::string_view text);
  void flush();

 private:
  static constexpr std::size_t kLineMax = limits::kGuestLogLineMax;

  int fd_;
  std::size_t left_;
  std::string line_;
};

}  // namespace sandforge::vmm
