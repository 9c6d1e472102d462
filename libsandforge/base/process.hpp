// SPDX-License-Identifier: Apache-2.0
// Child processes: started with declared descriptors only, known by pidfd, always reaped.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::base {

struct SpawnOptions {
  std::string program;            // absolute path; see find_program
  std::vector<std::string> args;  // after argv[0], which is `program`
  std::vector<std::string> env;   // the whole environment, "KEY=VALUE"; empty means empty
  // {ours, theirs}: the child has these and no others. 0, 1 and 2 become /dev/null where they are not named.
  std::vector<std::pair<int, int>> fds;
  std::string cwd = "/";
  bool die_with_parent = false;      // SIGKILL when the thread that spawned it ends
  bool own_process_group = true;     // so that a terminal's Ctrl-C does not reach it
  bool empty_network = false;        // in a network namespace of its own, where permitted (silently not otherwise)
  std::uint64_t max_open_files = 0;  // RLIMIT_NOFILE; 0: unchanged
  bool own_pids = false;           // in a PID namespace of its own (and a user namespace, where that is needed for it)
  int cgroup = -1;                 // folder of the control group that it is born into, open; -1: this process's own
  bool no_core = true;             // RLIMIT_CORE 0
  bool no_new_privs = false;       // set-id bits and file capabilities give the program nothing
  std::uint32_t uid = 0, gid = 0;  // of the child, when this process is root; 0: unchanged
  std::vector<gid_t> groups;       // supplementary groups that go with `uid`; all others are dropped
};

// A child that was started. Destroying it kills and reaps: nothing outlives its owner unnoticed.
class Child {
 public:
  Child() = default;
  Child(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, 0)), pidfd_(std::move(other.pidfd_)) {}
  Child& operator=(Child&& other) noexcept;
  ~Child();

  explicit operator bool() const noexcept { return pid_ > 0; }
  pid_t pid() const noexcept { return pid_; }
  // Readable once the child has ended; valid until reaped.
  int pidfd() const noexcept { return pidfd_.get(); }
  // SIGKILL by pidfd; fine when it has ended already.
  void kill() noexcept { signal(9); }
  void signal(int number) noexcept;
  // Lets it go: it lives on, and nobody here waits for it. Its parent process must end before it, or a zombie stays.
  void leave() noexcept {
    pid_ = 0;
    pidfd_.reset();
  }
  // Waits for the end (BLOCKS) and gives the wait status. Once; the child is empty afterwards.
  int reap() noexcept;

 private:
  void finish() noexcept;

  pid_t pid_ = 0;
  UniqueFd pidfd_;
};

// Starts a program: vfork-like clone with a pidfd, all signals at their defaults, umask 077.
// Errors: not_found and denied (of exec, with errno), exhausted, internal.
Result<Child> spawn(const SpawnOptions& options);

// "exited with status 1", "killed by signal 9 (Killed)".
std::string describe_wait_status(int status);

// First executable `name` in `path` (a PATH; default: the process's own, else the system's). Empty when there is none.
std::string find_program(std::string_view name, std::string_view path = {});

struct RunOptions {
  std::string input;                                         // given to stdin
  std::size_t output_cap = 1u << 20;                         // bytes kept of stdout and of stderr; the rest is drained
  std::function<void(std::string_view line)> on_error_line;  // each line of stderr as it comes (also \r-terminated)
};
struct RunResult {
  int status = 0;  // wait status
  std::string out, err;
  bool ok() const noexcept { return status == 0; }
};
// Runs a program to its end. BLOCKS. A non-zero status is a result, not an error.
Result<RunResult> run(SpawnOptions options, const RunOptions& run_options = {});

}  // namespace sandforge::base
