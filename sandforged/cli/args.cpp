// SPDX-License-Identifier: Apache-2.0
#include "cli/args.hpp"

#include <charconv>

namespace sandforge::cli {
namespace {

const Flag* find_flag(const std::vector<Flag>& flags, std::string_view name) {
  for (const Flag& flag : flags) {
    if (flag.name == name || (!flag.alias.empty() && flag.alias == name)) return &flag;
  }
  return nullptr;
}

}  // namespace

Args::Args(const std::vector<std::string>& words, const std::vector<Flag>& flags, Stop stop) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--") {
      rest_.insert(rest_.end(), words.begin() + static_cast<std::ptrdiff_t>(i) + 1, words.end());
      return;
    }
    if (word.size() < 2 || word[0] != '-') {
      if (stop == Stop::AtFirstWord) {
        rest_.insert(rest_.end(), words.begin() + static_cast<std::ptrdiff_t>(i), words.end());
        return;
      }
      rest_.push_back(word);
      continue;
    }
    if (word == "-h" || word == "--help" || word == "-help") {
      help_ = true;
      continue;
    }
    const std::size_t equals = word.starts_with("--") ? word.find('=') : std::string::npos;
    const Flag* flag = find_flag(flags, std::string_view(word).substr(0, equals));
    if (flag == nullptr) throw UsageError("unknown flag '" + word.substr(0, equals) + "'");
    std::string value;
    if (equals != std::string::npos) {
      if (!flag->takes_value) throw UsageError("flag '" + word.substr(0, equals) + "' takes no value");
      value = word.substr(equals + 1);
    } else if (flag->takes_value) {
      if (i + 1 == words.size()) throw UsageError("flag '" + word + "' needs a value");
      value = words[++i];
    }
    values_.emplace_back(flag->name, std::move(value));
  }
}

bool Args::has(std::string_view name) const {
  for (const auto& [key, value] : values_) {
    if (key == name) return true;
  }
  return false;
}

std::string Args::text(std::string_view name, std::string_view otherwise) const {
  std::string out(otherwise);
  for (const auto& [key, value] : values_) {
    if (key == name) out = value;
  }
  return out;
}

std::vector<std::string> Args::all(std::string_view name) const {
  std::vector<std::string> out;
  for (const auto& [key, value] : values_) {
    if (key == name) out.push_back(value);
  }
  return out;
}

std::int64_t Args::number(std::string_view name, std::int64_t otherwise) const {
  if (!has(name)) return otherwise;
  const std::string value = text(name);
  std::int64_t number = 0;
  const auto result = std::from_chars(value.data(), value.data() + value.size(), number);
  if (result.ec != std::errc() || result.ptr != value.data() + value.size()) {
    throw UsageError("flag '" + std::string(name) + "' needs a whole number, not '" + value + "'");
  }
  return number;
}

}  // namespace sandforge::cli
