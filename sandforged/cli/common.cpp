// SPDX-License-Identifier: Apache-2.0
// What several subcommands share.
#include <unistd.h>
#include <sandforge/error.hpp>

#include <cerrno>
#include <cstdlib>

#include "cli/commands.hpp"

namespace sandforge::cli {
namespace {

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(fd, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

Isolation parse_isolation(const std::string& text) {
  for (const Isolation level : {Isolation::None, Isolation::UserKernel, Isolation::SoftwareVm, Isolation::HardwareVm}) {
    if (text == name_of(level)) return level;
  }
  throw UsageError("unknown isolation '" + text + "': use user_kernel, software_vm or hardware_vm");
}

}  // namespace

std::vector<Flag> engine_flags() {
  return {{"--state-dir"}, {"--image-dir"}, {"--helper-dir"}, {"--min-isolation"}, {"--policy"}};
}

EngineOptions engine_options(const Args& args) {
  EngineOptions options;
  options.state_dir = args.text("--state-dir");
  options.image_dir = args.text("--image-dir");
  options.helper_dir = args.text("--helper-dir");
  options.policy_file = args.has("--policy") ? args.text("--policy") : default_policy_file();
  if (args.has("--policy") && options.policy_file.empty()) throw UsageError("flag '--policy' needs a file");
  if (args.has("--min-isolation")) options.min_isolation = parse_isolation(args.text("--min-isolation"));
  return options;
}

std::string default_policy_file() {
  const auto is_there = [](const std::string& path) { return ::access(path.c_str(), F_OK) == 0; };
  const auto in_folder = [](const char* variable, const char* rest) {
    const char* folder = std::getenv(variable);
    return folder != nullptr && folder[0] == '/' ? std::string(folder) + rest : std::string();
  };
  // Root's home is no place for what the whole host goes by.
  if (::geteuid() != 0) {
    std::string own = in_folder("XDG_CONFIG_HOME", "/sandforge/policy.toml");
    if (own.empty()) own = in_folder("HOME", "/.config/sandforge/policy.toml");
    if (is_there(own)) return own;
  }
  // One that cannot be looked at must not pass for none: reading it will tell.
  const std::string of_host = "/etc/sandforge/policy.toml";
  return is_there(of_host) || (errno != ENOENT && errno != ENOTDIR) ? of_host : std::string();
}

LogLevel parse_log_level(const std::string& text) {
  if (text == "error") return LogLevel::Error;
  if (text == "warn") return LogLevel::Warn;
  if (text == "info") return LogLevel::Info;
  if (text == "debug") return LogLevel::Debug;
  throw UsageError("unknown log level '" + text + "': use error, warn, info or debug");
}

bool print(std::string_view text) { return write_all(STDOUT_FILENO, text); }

void print_error(const std::exception& error) {
  std::string text = "sandforged: " + std::string(error.what()) + "\n";
  if (const auto* ours = dynamic_cast<const Error*>(&error); ours != nullptr && !ours->remedy().empty()) {
    text += "  remedy: " + ours->remedy() + "\n";
  }
  write_all(STDERR_FILENO, text);
}

}  // namespace sandforge::cli
