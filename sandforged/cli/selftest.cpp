// SPDX-License-Identifier: Apache-2.0
#include "cli/selftest.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>
#include <sandforge/sandbox.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "cli/commands.hpp"
#include "cli/temporary_directory.hpp"

namespace sandforge::cli {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int kBoots = 10, kExecs = 100;
constexpr std::size_t kStreamBytes = std::size_t{64} << 20;
constexpr std::size_t kTailBytes = 4096;
constexpr const char* kSuite = "sandforge-conformance";

void say(const std::string& line) { print(line + "\n"); }
void progress(const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); }

std::string first_line(const fs::path& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

std::string cpu_model() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

// Facts that decide speed or safety of virtual machines, and nothing that tells whose machine it is.
void describe_host() {
  utsname kernel{};
  ::uname(&kernel);
  say(std::string("sandforge   ") + std::string(library_version()));
  say(std::string("kernel      ") + kernel.release + " " + kernel.machine);
  say("cpu         " + cpu_model() + ", " + std::to_string(::sysconf(_SC_NPROCESSORS_ONLN)) + " online");
  for (const char* setting :
       {"/sys/module/kvm/parameters/nx_huge_pages", "/sys/module/kvm/parameters/halt_poll_ns",
        "/sys/module/kvm_intel/parameters/nested", "/sys/module/kvm_amd/parameters/nested",
        "/sys/kernel/mm/transparent_hugepage/enabled", "/sys/devices/system/cpu/vulnerabilities/itlb_multihit"}) {
    if (const std::string value = first_line(setting); !value.empty()) say(std::string(setting) + " = " + value);
  }
}

// The suite as a program: installed with the helpers, or in the build tree that this program belongs to.
fs::path find_suite(const EngineOptions& options) {
  std::error_code error;
  const fs::path here = fs::read_symlink("/proc/self/exe", error).parent_path();
  std::vector<fs::path> folders;
  if (!options.helper_dir.empty()) folders.emplace_back(options.helper_dir);
  if (const char* named = std::getenv("SANDFORGE_HELPER_DIR"); named != nullptr && *named != '\0') {
    folders.emplace_back(named);
  }
  folders.insert(folders.end(), {here, here / "../libexec/sandforge", here / "../test/conformance"});
  std::string looked;
  for (const fs::path& folder : folders) {
    if (::access((folder / kSuite).c_str(), X_OK) == 0) return folder / kSuite;
    looked += (looked.empty() ? "" : ", ") + folder.lexically_normal().string();
  }
  throw NotFound("selftest_missing", std::string(kSuite) + " was not found in " + looked,
                 "build with -Dtests=enabled, or name its folder with --helper-dir");
}

// Runs it with its output in a pipe and answers its exit status; `tail` gets the last of what it said.
int run_suite(const fs::path& suite, const std::string& backend, std::string& tail) {
  int pipe[2];
  if (::pipe2(pipe, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipe[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, pipe[1], STDERR_FILENO);
  std::string program = suite.string(), flag = "--backend=" + backend;
  char* argv[] = {program.data(), flag.data(), nullptr};
  pid_t child = -1;
  const int failed = ::posix_spawn(&child, program.c_str(), &actions, nullptr, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(pipe[1]);
  char buffer[4096];
  for (ssize_t n; failed == 0 && ((n = ::read(pipe[0], buffer, sizeof buffer)) > 0 || (n < 0 && errno == EINTR));) {
    if (n > 0) tail.append(buffer, static_cast<std::size_t>(n));
    if (tail.size() > 2 * kTailBytes) tail.erase(0, tail.size() - kTailBytes);
  }
  ::close(pipe[0]);
  if (failed != 0) throw std::system_error(failed, std::generic_category(), program);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool conforms(const fs::path& suite, const std::string& backend) {
  progress("conformance suite on " + backend + " (some minutes) ...");
  std::string tail;
  const int status = run_suite(suite, backend, tail);
  say("conformance " + backend + ": " + (status == 0 ? "passed" : "FAILED with status " + std::to_string(status)));
  if (status != 0) print(tail);
  return status == 0;
}

// Wall time of each round, in milliseconds.
class Series {
 public:
  template <typename Work>
  void add(Work work) {
    const auto start = Clock::now();
    work();
    rounds_.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
  }
  void report(const std::string& what) {
    std::sort(rounds_.begin(), rounds_.end());
    char line[200];
    std::snprintf(line, sizeof line, "  %-22s median %9.2f ms   least %9.2f   most %9.2f   of %zu", what.c_str(),
                  rounds_[rounds_.size() / 2], rounds_.front(), rounds_.back(), rounds_.size());
    say(line);
  }

 private:
  std::vector<double> rounds_;
};

std::size_t read_all(Process& process) {
  std::string buffer(64 * 1024, '\0');
  std::size_t total = 0;
  while (const auto count = process.read(Stream::Stdout, buffer.data(), buffer.size())) {
    if (*count == 0) break;
    total += *count;
  }
  return total;
}

long voluntary_switches() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_nvcsw;
}

void measure(const Engine& engine, const std::string& backend) {
  progress("figures of " + backend + " ...");
  const SandboxSpec spec{.backend = backend, .cpu = 1, .memory_mb = 256};
  Series creates, destroys, execs, streams;
  for (int i = 0; i < kBoots; ++i) {
    std::optional<Sandbox> sandbox;
    creates.add([&] { sandbox.emplace(Sandbox::create(engine, spec)); });
    destroys.add([&] { sandbox->destroy(); });
  }
  Sandbox sandbox = Sandbox::create(engine, spec);
  const long switches = voluntary_switches();
  for (int i = 0; i < kExecs; ++i) execs.add([&] { sandbox.exec({.argv = {"true"}}); });
  const long switched = voluntary_switches() - switches;
  for (int i = 0; i < 3; ++i) {
    streams.add([&] {
      Process process = sandbox.start({.argv = {"head", "-c", std::to_string(kStreamBytes), "/dev/zero"}});
      if (const std::size_t got = read_all(process); got != kStreamBytes) {
        throw Corrupt("lost_output", std::to_string(got) + " bytes of output came back", "");
      }
    });
  }
  sandbox.destroy();
  say("figures of " + backend + " (1 CPU, 256 MiB):");
  creates.report("create until ready");
  execs.report("exec of true");
  streams.report("64 MiB of output");
  destroys.report("destroy");
  say("  voluntary context switches per exec, this process: " + std::to_string(switched / kExecs));
}

}  // namespace

bool selftest(EngineOptions options) {
  const fs::path suite = find_suite(options);
  // The suite makes an engine of its own and takes these from its environment.
  if (!options.image_dir.empty()) ::setenv("SANDFORGE_IMAGE_DIR", options.image_dir.c_str(), 1);
  if (!options.helper_dir.empty()) ::setenv("SANDFORGE_HELPER_DIR", options.helper_dir.c_str(), 1);
  const TemporaryDirectory directory;  // another daemon may have the usual one
  options.state_dir = directory.path() + "/state";
  describe_host();
  const Engine engine(options);
  bool passed = true, any = false;
  for (const BackendInfo& backend : engine.backends()) {
    if (!backend.available) {
      say("backend     " + backend.name + ": not available: " + backend.reason);
      continue;
    }
    if (backend.isolation == Isolation::None) continue;  // in memory, for tests
    any = true;
    say("backend     " + backend.name + ": " + backend.detail + " (" + std::string(name_of(backend.isolation)) + ")");
    passed = conforms(suite, backend.name) && passed;
    try {
      measure(engine, backend.name);
    } catch (const Error& error) {
      say("figures of " + backend.name + ": FAILED: " + error.what());
      passed = false;
    }
  }
  say(!any ? "No backend to test." : passed ? "Self-test passed." : "Self-test FAILED.");
  return passed && any;
}

}  // namespace sandforge::cli
