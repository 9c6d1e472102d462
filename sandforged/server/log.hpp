// SPDX-License-Identifier: Apache-2.0
// The daemon's log: logfmt lines on standard error, each written with one call.
#pragma once

#include <sandforge/engine.hpp>

#include <initializer_list>
#include <string_view>
#include <utility>

namespace sandforge::server {

class Log {
 public:
  explicit Log(LogLevel level) : level_(level) {}
  // Any thread. time=… level=… then the pairs; values are quoted where they need it.
  void write(LogLevel level, std::initializer_list<std::pair<std::string_view, std::string_view>> pairs) const;
  LogLevel level() const { return level_; }

 private:
  LogLevel level_;
};

}  // namespace sandforge::server
