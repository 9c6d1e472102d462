// SPDX-License-Identifier: Apache-2.0
// ChannelBuffer: bytes on their way between the loop and a caller, bounded by the credit window. Not synchronised.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "base/limits.hpp"

namespace sandforge::engine {

class ChannelBuffer {
 public:
  std::size_t size() const noexcept { return bytes_.size() - offset_; }
  bool empty() const noexcept { return size() == 0; }
  // Room that is left in the window.
  std::size_t space() const noexcept {
    return limits::kStreamWindow - std::min<std::size_t>(size(), limits::kStreamWindow);
  }
  std::string_view view() const noexcept { return std::string_view(bytes_).substr(offset_); }

  void append(std::string_view bytes) { bytes_ += bytes; }
  void drop(std::size_t count) {
    offset_ += count;
    if (offset_ == bytes_.size()) {
      bytes_.clear();
      offset_ = 0;
    } else if (offset_ >= limits::kStreamWindow / 2 && offset_ >= size()) {
      // What is moved is less than what went since the last move.
      bytes_.erase(0, offset_);
      offset_ = 0;
    }
  }
  std::size_t take(void* out, std::size_t capacity) {
    const std::size_t count = std::min(capacity, size());
    if (count > 0) std::memcpy(out, bytes_.data() + offset_, count);
    drop(count);
    return count;
  }
  void clear() noexcept {
    bytes_.clear();
    offset_ = 0;
  }

 private:
  std::string bytes_;
  std::size_t offset_ = 0;  // of the first byte that was not taken
};

// Credit that a reader owes: given back in lumps of half a window, which costs few frames and never stalls a producer.
class CreditDebt {
 public:
  // As Stream::consumed tells it.
  void set_window(std::size_t window) noexcept { lump_ = window / 2; }
  // Adds what was consumed; answers what to give back now, 0 for nothing yet.
  std::size_t add(std::size_t count) noexcept {
    owed_ += count;
    if (owed_ < lump_) return 0;
    return std::exchange(owed_, 0);
  }

 private:
  std::size_t owed_ = 0;
  std::size_t lump_ = limits::kStreamWindow / 2;
};

}  // namespace sandforge::engine
