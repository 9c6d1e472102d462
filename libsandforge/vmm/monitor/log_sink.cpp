// SPDX-License-Identifier: Apache-2.0
#include "vmm/monitor/log_sink.hpp"

#include <unistd.h>

namespace sandforge::vmm {

void LogSink::put(char byte) {
  if (left_ == 0) return;
  --left_;
  line_ += byte;
  if (byte == '\n' || line_.size() >= kLineMax || left_ == 0) flush();
  if (left_ == 0) line("the guest's log reached its cap; the rest is dropped");
}

void LogSink::line(std::string_view text) {
  flush();
  const std::string whole = "sandforge-vmm: " + std::string(text) + "\n";
  (void)!::write(fd_, whole.data(), whole.size());
}

void LogSink::flush() {
  if (!line_.empty()) (void)!::write(fd_, line_.data(), line_.size());
  line_.clear();
}

}  // namespace sandforge::vmm
