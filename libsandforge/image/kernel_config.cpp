// SPDX-License-Identifier: Apache-2.0
#include "image/kernel_config.hpp"

#include <algorithm>
#include <map>

namespace sandforge::image {

namespace {

constexpr std::string_view kOption = "CONFIG_";
constexpr std::string_view kOffStart = "# CONFIG_";
constexpr std::string_view kOffEnd = " is not set";

bool is_off(std::string_view line) {
  return line.size() > kOffStart.size() + kOffEnd.size() && line.starts_with(kOffStart) && line.ends_with(kOffEnd);
}

// "CONFIG_X" of either form.
std::string_view option_of(std::string_view line) {
  if (is_off(line)) return line.substr(2, line.size() - 2 - kOffEnd.size());
  return line.substr(0, line.find('='));
}

}  // namespace

std::vector<std::string_view> config_lines(std::string_view config) {
  std::vector<std::string_view> lines;
  while (!config.empty()) {
    std::string_view line = config.substr(0, config.find('\n'));
    config.remove_prefix(std::min(line.size() + 1, config.size()));
    while (!line.empty() && (line.back() == ' ' || line.back() == '\t' || line.back() == '\r')) line.remove_suffix(1);
    const bool set = line.starts_with(kOption) && line.find('=') != std::string_view::npos;
    if (set || is_off(line)) lines.push_back(line);
  }
  return lines;
}

std::vector<std::string_view> refused_lines(std::string_view wanted, std::string_view granted) {
  std::map<std::string_view, std::string_view> present;
  for (const std::string_view line : config_lines(granted)) present[option_of(line)] = line;
  std::vector<std::string_view> refused;
  for (const std::string_view line : config_lines(wanted)) {
    const auto found = present.find(option_of(line));
    const bool absent = found == present.end();
    if (is_off(line) ? !absent && !is_off(found->second) : absent || found->second != line) refused.push_back(line);
  }
  return refused;
}

}  // namespace sandforge::image
