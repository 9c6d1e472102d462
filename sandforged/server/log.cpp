// SPDX-License-Identifier: Apache-2.0
#include "server/log.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <string>

#include "server/json_out.hpp"

namespace sandforge::server {
namespace {

const char* word_of(LogLevel level) {
  switch (level) {
    case LogLevel::Error: return "error";
    case LogLevel::Warn: return "warn";
    case LogLevel::Info: return "info";
    case LogLevel::Debug: return "debug";
  }
  return "info";
}

std::string timestamp() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm parts{};
  gmtime_r(&now.tv_sec, &parts);
  std::array<char, 48> text{};
  const std::size_t length = strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::string out(text.data(), length);
  const std::string millis = std::to_string(1000 + now.tv_nsec / 1'000'000);
  return out + "." + millis.substr(1) + "Z";
}

void append_value(std::string& line, std::string_view value) {
  const bool plain = !value.empty() && std::all_of(value.begin(), value.end(), [](char c) {
    return c > ' ' && c < 0x7F && c != '"' && c != '=' && c != '\\';
  });
  if (plain) {
    line += value;
    return;
  }
  line += '"';
  append_utf8(line, value, true);
  line += '"';
}

}  // namespace

void Log::write(LogLevel level, std::initializer_list<std::pair<std::string_view, std::string_view>> pairs) const {
  if (static_cast<sandforge_log_level>(level) > static_cast<sandforge_log_level>(level_)) return;
  std::string line = "time=" + timestamp() + " level=" + word_of(level);
  for (const auto& [key, value] : pairs) {
    line += ' ';
    line += key;
    line += '=';
    append_value(line, value);
  }
  line += '\n';
  // A log that cannot be written is no reason to stop serving.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace sandforge::server
