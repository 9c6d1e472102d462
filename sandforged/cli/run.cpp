// SPDX-License-Identifier: Apache-2.0
// sandforged run: one command in a sandbox of its own, joined to our standard streams.
#include <poll.h>
#include <unistd.h>
#include <sandforge/sandbox.hpp>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>

#include "cli/commands.hpp"
#include "cli/pump.hpp"
#include "cli/temporary_directory.hpp"

namespace sandforge::cli {
namespace {

constexpr const char* kHelp = R"(usage: sandforged run [flags] [--] COMMAND [ARGUMENT...]

Runs one command in a sandbox made for it and destroyed after it. Standard
input, output and error are joined to it; the exit status is the command's
(128+n for a signal, 124 when it took too long, 127 not found, 126 not
startable), 125 when the sandbox itself failed. SIGINT and SIGTERM end the
guest. Flags end at the first word that is none.

  --cpu N             virtual CPUs (default 2)
  --memory MB         memory in MiB (default 512)
  --disk GB           private disk in GiB (default 10)
  --network MODE      offline (default, and the only one so far)
  --timeout SEC       end the command after so many seconds (default 3600,
                      at most 604800)
  --backend NAME      auto (default), or one that "sandforged doctor" lists
  --image NAME        guest image (default "default")
  --isolation MODE    of the command in the guest: container (default) or
                      process
  -e, --env K=V       environment variable; K alone takes ours
  --cwd DIR           working directory in the guest (default /)
  --user NAME         user in the guest (default root)
  --mount HOST:GUEST[:ro]  a directory of this host in the guest; may be given
                      several times
  --dir DIR           the same as --mount DIR:/workspace --cwd /workspace
  --image-dir DIR     image store
  --helper-dir DIR    where the guest agent and helpers are
  --policy FILE       what the sandbox may have of this host (default: that of
                      "sandforged serve")
  --min-isolation LEVEL  user_kernel, software_vm or hardware_vm
  --log-level LEVEL   error (default), warn, info or debug: to standard error
)";

constexpr int kSandboxFailed = 125;
constexpr std::int64_t kDefaultTimeout = 3600;
constexpr std::int64_t kLifeAfterTimeout = 60;  // so that the command's own time-out tells the verdict
constexpr std::int64_t kLifeMax = 7 * 24 * 3600;

std::vector<Flag> run_flags() {
  return {{"--cpu"},
          {"--memory", true, "--memory-mb"},
          {"--disk", true, "--disk-gb"},
          {"--network"},
          {"--timeout", true, "--timeout-sec"},
          {"--backend"},
          {"--image"},
          {"--isolation", true, "--task-isolation"},
          {"-e", true, "--env"},
          {"--cwd"},
          {"--user"},
          {"--mount"},
          {"--dir"},
          {"--image-dir"},
          {"--helper-dir"},
          {"--min-isolation"},
          {"--policy"},
          {"--log-level"}};
}

constexpr const char* kWorkspace = "/workspace";

std::string absolute(const std::string& path) { return std::filesystem::absolute(path).lexically_normal().string(); }

// "HOST:GUEST" or "HOST:GUEST:ro". A host path may hold colons: the guest path is what follows the last one.
Mount mount_of(const std::string& text) {
  std::string rest = text;
  Mount mount;
  for (const std::string_view mode : {":ro", ":rw"}) {
    if (!rest.ends_with(mode)) continue;
    mount.read_only = mode == ":ro";
    rest.resize(rest.size() - mode.size());
    break;
  }
  const std::size_t colon = rest.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == rest.size()) {
    throw UsageError("flag '--mount' needs HOST:GUEST or HOST:GUEST:ro, not '" + text + "'");
  }
  mount.host_path = absolute(rest.substr(0, colon));
  mount.guest_path = rest.substr(colon + 1);
  return mount;
}

SandboxSpec sandbox_spec(const Args& args, std::int64_t timeout) {
  SandboxSpec spec;
  spec.backend = args.text("--backend");
  spec.image = args.text("--image");
  spec.cpu = args.number("--cpu", 0);
  spec.memory_mb = args.number("--memory", 0);
  spec.disk_gb = args.number("--disk", 0);
  spec.network_mode = args.text("--network");
  spec.task_isolation = args.text("--isolation");
  for (const std::string& text : args.all("--mount")) spec.mounts.push_back(mount_of(text));
  if (args.has("--dir")) spec.mounts.push_back({absolute(args.text("--dir")), kWorkspace, false});
  spec.timeout_sec = std::max(timeout, std::min(timeout + kLifeAfterTimeout, kLifeMax));
  return spec;
}

ExecSpec exec_spec(const Args& args, std::int64_t timeout) {
  ExecSpec spec;
  spec.argv = args.rest();
  spec.cwd = args.text("--cwd", args.has("--dir") ? kWorkspace : "");
  spec.user = args.text("--user");
  spec.timeout = std::chrono::seconds(timeout);
  spec.stream_stdin = true;
  for (const std::string& pair : args.all("-e")) {
    const std::size_t equals = pair.find('=');
    if (pair.empty() || equals == 0) throw UsageError("flag '-e' needs NAME=VALUE or NAME, not '" + pair + "'");
    const char* ours = equals == std::string::npos ? std::getenv(pair.c_str()) : nullptr;
    if (equals != std::string::npos) {
      spec.env.emplace_back(pair.substr(0, equals), pair.substr(equals + 1));
    } else if (ours != nullptr) {
      spec.env.emplace_back(pair, ours);
    }
  }
  return spec;
}

// BLOCKS until the sandbox is ready. A signal that came meanwhile, or 0.
int wait_ready(Sandbox& sandbox, const Wakeup& wakeup, const Signals& signals) {
  while (!sandbox.wait(std::chrono::milliseconds(0))) {
    std::array<pollfd, 2> fds{{{wakeup.fd(), POLLIN, 0}, {signals.fd(), POLLIN, 0}}};
    ::poll(fds.data(), fds.size(), -1);
    wakeup.clear();
    if (const int number = signals.take(); number != 0) return number;
  }
  return 0;
}

int tell_end(const ExecResult& result) {
  const bool plain = result.ended_by == EndedBy::Exit || result.ended_by == EndedBy::Signal;
  const bool started = result.exit_code != 126 && result.exit_code != 127;
  if ((!plain || !started) && !result.reason.empty()) print_error(std::runtime_error(result.reason));
  return result.exit_code;
}

// `wakeup` outlives the engine, which sets it.
int run_in(const Engine& engine, const SandboxSpec& spec, const ExecSpec& command, const Wakeup& wakeup,
           const Signals& signals) {
  Sandbox sandbox = Sandbox::create_begin(engine, spec, [&wakeup] { wakeup.set(); });
  const int early = wait_ready(sandbox, wakeup, signals);
  Pump::End end;
  end.signal = early;
  if (early == 0) {
    Process process = sandbox.start(command, [&wakeup] { wakeup.set(); });
    end = Pump(process, wakeup, signals).run();
  }
  sandbox.destroy();
  if (end.signal != 0) return 128 + end.signal;
  if (end.reader_gone) return 128 + SIGPIPE;
  return tell_end(end.result);
}

}  // namespace

int run(const Words& words) {
  const Args args(words, run_flags(), Args::Stop::AtFirstWord);
  if (args.help()) return print(kHelp) ? 0 : 1;
  if (args.rest().empty()) throw UsageError("run: no command given");
  const std::int64_t timeout = args.has("--timeout") ? args.number("--timeout", 0) : kDefaultTimeout;
  if (timeout < 0 || timeout > kLifeMax) throw UsageError("flag '--timeout' is out of range");
  const SandboxSpec spec = sandbox_spec(args, timeout == 0 ? kDefaultTimeout : timeout);
  const ExecSpec command = exec_spec(args, timeout == 0 ? kDefaultTimeout : timeout);
  std::signal(SIGPIPE, SIG_IGN);
  const Signals signals;
  const Wakeup wakeup;
  try {
    const TemporaryDirectory state;
    EngineOptions options = engine_options(args);
    options.state_dir = state.path();
    options.log_level = parse_log_level(args.text("--log-level", "error"));
    options.log = [](LogLevel, std::string_view message) { print_error(std::runtime_error(std::string(message))); };
    const Engine engine(options);
    return run_in(engine, spec, command, wakeup, signals);
  } catch (const Error& error) {
    print_error(error);
    return kSandboxFailed;
  }
}

}  // namespace sandforge::cli
