// SPDX-License-Identifier: Apache-2.0
// Args: a small command-line parser, the same for every subcommand.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sandforge::cli {

// The command line makes no sense: exit status 2, with a hint at --help.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// What one subcommand takes.
struct Flag {
  std::string_view name;  // "--cpu", "-e"; the first of several names for the same flag
  bool takes_value = true;
  std::string_view alias = {};
};

class Args {
 public:
  // Where the flags end: never (flags may stand anywhere), or at the first word that is none (`run`: what follows is
  // the command, whatever it looks like). "--" ends them in both.
  enum class Stop { Never, AtFirstWord };

  // Throws UsageError for an unknown flag or a missing value. "--flag=value" and "--flag value" are the same; "-h" and
  // "--help" are always known.
  Args(const std::vector<std::string>& words, const std::vector<Flag>& flags, Stop stop);

  bool help() const { return help_; }
  bool has(std::string_view name) const;
  // The last value given, or `otherwise`.
  std::string text(std::string_view name, std::string_view otherwise = {}) const;
  std::vector<std::string> all(std::string_view name) const;
  // Throws UsageError when it is no whole number.
  std::int64_t number(std::string_view name, std::int64_t otherwise) const;
  const std::vector<std::string>& rest() const { return rest_; }

 private:
  std::vector<std::pair<std::string, std::string>> values_;
  std::vector<std::string> rest_;
  bool help_ = false;
};

}  // namespace sandforge::cli
