// SPDX-License-Identifier: Apache-2.0
// sandforge-agent: /init of the guest. With --no-init an ordinary process that serves one given descriptor, for tests.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>

#include "agent/agent.hpp"
#include "agent/console.hpp"
#include "agent/init/boot.hpp"

namespace {

using namespace sandforge;

constexpr const char* kUsage =
    "usage: sandforge-agent --no-init --channel-fd N --root DIR [--cgroup DIR] [--files-fd N --files-dir DIR]\n"
    "       (without arguments it is the first process of a guest)\n";

struct CommandLine {
  int channel_fd = -1;
  agent::AgentOptions options;
};

// Nothing but these options, the first three required.
std::optional<CommandLine> parse(int argc, char** argv) {
  CommandLine line;
  line.options = {"", "", false, {}};
  const auto number = [](std::string_view text, int& out) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    return error == std::errc() && end == text.data() + text.size();
  };
  bool no_init = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--no-init") {
      no_init = true;
      continue;
    }
    if (++i >= argc) return std::nullopt;
    const std::string_view value = argv[i];
    if (option == "--channel-fd") {
      if (!number(value, line.channel_fd)) return std::nullopt;
    } else if (option == "--files-fd") {
      if (!number(value, line.options.workspaces.stream)) return std::nullopt;
    } else if (option == "--files-dir") {
      line.options.workspaces.directory = value;
    } else if (option == "--root") {
      line.options.root_path = value;
    } else if (option == "--cgroup") {
      line.options.cgroup_path = value;
    } else {
      return std::nullopt;
    }
  }
  if (!no_init || line.channel_fd < 0 || line.options.root_path.empty()) return std::nullopt;
  return line;
}

int run_as_process(int argc, char** argv, agent::Console& console) {
  auto line = parse(argc, argv);
  if (!line) {
    [[maybe_unused]] const auto ignored = ::write(2, kUsage, std::strlen(kUsage));
    return 2;
  }
  ::fcntl(line->channel_fd, F_SETFD, FD_CLOEXEC);
  if (line->options.workspaces.stream >= 0) ::fcntl(line->options.workspaces.stream, F_SETFD, FD_CLOEXEC);
  agent::Agent agent(console, std::move(line->options));
  base::Status status = agent.open();
  if (status) status = agent.run(agent::Channel::Kind::Given, base::UniqueFd(line->channel_fd));
  if (status) return 0;
  console.line(status.error().message);
  return 1;
}

[[noreturn]] void run_as_init(agent::Console& console) {
  auto booted = agent::boot(console);
  if (booted) {
    agent::Booted& with = booted.value();
    agent::AgentOptions options{agent::kNewRoot, agent::kCgroupMount, true, {}};
    options.workspaces.modules = with.modules.get();
    agent::Agent agent(console, std::move(options));
    base::Status status = agent.open();
    if (status) {
      status = agent.run(with.channel_kind, std::move(with.channel), with.channel_port);
    }
    if (!status) console.line("failed: " + status.error().message);
  } else {
    console.line("boot failed: " + booted.error().message);
  }
  // The first process must not end: that would be a kernel panic instead of a stop.
  agent::power_off(console);
  while (true) ::pause();
}

}  // namespace

int main(int argc, char** argv) {
  agent::Console console(2);
  // A kernel hands words of its command line that it does not know itself ("nowatchdog" on one without a watchdog) to
  // the first process.
  const bool no_init = std::any_of(argv, argv + argc, [](std::string_view word) { return word == "--no-init"; });
  if (::getpid() == 1 && !no_init) run_as_init(console);
  return run_as_process(argc, argv, console);
}
