// SPDX-License-Identifier: Apache-2.0
#include "image/tool.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <deque>

#include "base/limits.hpp"
#include "base/process.hpp"

namespace sandforge::image {

namespace {

// Fixed, so that what maintainer scripts see does not depend on the host.
constexpr std::string_view kPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr std::size_t kTailLines = 12;
constexpr std::ptrdiff_t kCauseLines = 4;
constexpr std::size_t kOutputCap = 16 * limits::kMiB;

std::string find_tool(std::string_view program) {
  std::string found = base::find_program(program);
  return found.empty() ? base::find_program(program, kPath) : found;
}

base::Error missing_tools(std::string_view programs, std::string_view packages) {
  return base::make_error(base::Code::Unsupported, "tool_missing", fmt::format("not installed here: {}", programs),
                          fmt::format("apt-get install {}", packages));
}

std::vector<std::string> environment(const std::vector<std::string>& added) {
  std::vector<std::string> env = {fmt::format("PATH={}", kPath), "LC_ALL=C.UTF-8", "HOME=/nonexistent",
                                  "DEBIAN_FRONTEND=noninteractive"};
  constexpr std::array<const char*, 8> kPassed = {"http_proxy", "https_proxy", "no_proxy", "all_proxy",
                                                  "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"};
  for (const char* name : kPassed) {
    if (const char* value = std::getenv(name); value != nullptr) env.push_back(fmt::format("{}={}", name, value));
  }
  env.insert(env.end(), added.begin(), added.end());
  return env;
}

// What stands before the program so that its whole tree ends with it.
std::vector<std::string> containment() {
  const std::string unshare = find_tool("unshare"), setpriv = find_tool("setpriv");
  if (::geteuid() == 0 && !unshare.empty()) {
    std::vector<std::string> words = {unshare, "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"};
    base::SpawnOptions probe;
    probe.program = unshare;
    probe.args.assign(words.begin() + 1, words.end());
    probe.args.emplace_back("/bin/true");
    const auto tried = base::run(std::move(probe));
    if (tried && tried.value().ok()) return words;
  }
  // SIGTERM instead of SIGKILL at the death of the caller: mmdebstrap then ends what it started.
  if (!setpriv.empty()) return {setpriv, "--pdeathsig", "TERM", "--"};
  return {};
}

// The lines that tell the cause: those marked as errors and the one before them, else the last ones.
std::string cause_of(const std::deque<std::string>& lines) {
  const auto marked = [](const std::string& line) { return line.starts_with("E:"); };
  auto first = std::find_if(lines.begin(), lines.end(), marked);
  if (first == lines.end())
    first = lines.end() - std::min<std::ptrdiff_t>(std::ssize(lines), kCauseLines);
  else if (first != lines.begin())
    --first;
  std::string cause;
  for (auto line = first; line != lines.end(); ++line) cause += (cause.empty() ? "" : "; ") + *line;
  return cause;
}

base::Error failure(const ToolRun& run, int status, const std::deque<std::string>& lines) {
  const std::string cause = cause_of(lines);
  const std::string message =
      fmt::format("{} {}{}{}", run.tool.program, base::describe_wait_status(status), cause.empty() ? "" : ": ", cause);
  std::string all;
  for (const std::string& line : lines) all += line + "\n";
  const auto says = [&](std::string_view text) { return all.find(text) != std::string::npos; };
  if (says("No space left on device")) {
    return base::make_error(base::Code::Exhausted, "no_space", message, "free some disk space");
  }
  constexpr std::array<std::string_view, 7> kNetwork = {
      "Failed to fetch",   "Could not resolve", "Temporary failure resolving",
      "Could not connect", "Connection failed", "Connection timed out",
      "Unable to connect"};
  if (std::any_of(kNetwork.begin(), kNetwork.end(), says)) {
    return base::make_error(base::Code::Disconnected, "mirror_unreachable", message,
                            "check the network, and the package mirror in the recipe or in /etc/apt");
  }
  return base::make_error(base::Code::Internal, "tool_failed", message);
}

}  // namespace

base::Status require_tools(std::initializer_list<Tool> tools) {
  std::vector<std::string_view> packages;
  std::string programs;
  for (const Tool& tool : tools) {
    if (!find_tool(tool.program).empty()) continue;
    programs += fmt::format("{}{}", programs.empty() ? "" : ", ", tool.program);
    if (std::find(packages.begin(), packages.end(), tool.package) == packages.end()) packages.push_back(tool.package);
  }
  if (packages.empty()) return {};
  return missing_tools(programs, fmt::format("{}", fmt::join(packages, " ")));
}

base::Result<std::string> run_tool(const ToolRun& run) {
  const std::string program = find_tool(run.tool.program);
  if (program.empty()) return missing_tools(run.tool.program, run.tool.package);

  base::SpawnOptions spawn;
  spawn.program = "/bin/sh";
  // Programs make files for others to read; redirections are by path.
  spawn.args = {"-c",
                std::string(run.merge_output ? "exec >&2; " : "") +
                    "umask 022; [ -z \"$1\" ] || exec <\"$1\"; [ -z \"$2\" ] || exec >\"$2\"; shift 2; exec \"$@\"",
                "sh", run.stdin_file.string(), run.stdout_file.string()};
  if (run.starts_others) {
    for (std::string& word : containment()) spawn.args.push_back(std::move(word));
  }
  if (run.unprivileged && ::geteuid() == 0) {
    const std::string setpriv = find_tool(kSetpriv.program);
    if (setpriv.empty()) return missing_tools(kSetpriv.program, kSetpriv.package);
    spawn.args.insert(spawn.args.end(), {setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs",
                                         "--bounding-set=-all", "--inh-caps=-all", "--"});
    spawn.empty_network = true;
  }
  spawn.args.push_back(program);
  spawn.args.insert(spawn.args.end(), run.args.begin(), run.args.end());
  spawn.env = environment(run.env);
  spawn.cwd = run.cwd.string();
  spawn.die_with_parent = true;

  std::deque<std::string> tail;
  base::RunOptions options;
  options.output_cap = kOutputCap;
  options.on_error_line = [&](std::string_view line) {
    if (line.empty()) return;
    tail.emplace_back(line);
    if (tail.size() > kTailLines) tail.pop_front();
    if (run.on_line) run.on_line(line);
  };
  auto result = base::run(std::move(spawn), options);
  if (!result) return std::move(result).error().context(run.tool.program);
  if (!result->ok()) return failure(run, result->status, tail);
  return std::move(result->out);
}

}  // namespace sandforge::image
