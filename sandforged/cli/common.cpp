// SPDX-License-Identifier: Apache-2.0
// What several subcommands share.
#include <unistd.h>
#include <sandforge/error.hpp>

#include <cerrno>

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

std::vector<Flag> engine_flags() { return {{"--state-dir"}, {"--image-dir"}, {"--helper-dir"}, {"--min-isolation"}}; }

EngineOptions engine_options(const Args& args) {
  EngineOptions options;
  options.state_dir = args.text("--state-dir");
  options.image_dir = args.text("--image-dir");
  options.helper_dir = args.text("--helper-dir");
  if (args.has("--min-isolation")) options.min_isolation = parse_isolation(args.text("--min-isolation"));
  return options;
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
