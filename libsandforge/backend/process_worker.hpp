// SPDX-License-Identifier: Apache-2.0
// A guest that is one child process: its agent behind a listening socket, its log in a pipe. Shared by the backends
// that start a monitor.
#pragma once

#include <string>

#include "backend/backend.hpp"
#include "base/process.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::backend {

// Names of listening sockets in the sandbox's directory.
inline constexpr const char* kAgentSocket = "agent.sock";
inline constexpr const char* kControlSocket = "control.sock";  // of monitors that can be adopted

// What a monitor is started with, open. The files are regular ones; the log's ends do not block.
struct LaunchFiles {
  base::UniqueFd directory, agent, kernel, initrd, root, disk, log_read, log_write;
};

// The log is a pipe that nobody reads while the guest lives: its first 64 KiB are kept by the kernel and the rest is
// refused, so a guest that floods its serial port fills no disk, takes no memory and slows only itself.
class ProcessWorker final : public Worker {
 public:
  // "exited with status 1" and the like, from a wait status.
  using StatusText = std::string (*)(int wait_status);

  // `exited` is a second descriptor of the child's pidfd, so that it stays valid when the child has been reaped. Takes
  // the directory and the reading end of the log out of `files`.
  ProcessWorker(base::Child child, base::UniqueFd exited, LaunchFiles& files, std::string name,
                StatusText status_text = base::describe_wait_status);
  // A guest that another process started: known by its pidfd, its log and its wait status are not ours.
  ProcessWorker(base::UniqueFd pidfd, base::UniqueFd directory, std::string name)
      : exited_(std::move(pidfd)),
        directory_(std::move(directory)),
        name_(std::move(name)),
        status_text_(base::describe_wait_status) {}
  ProcessWorker(ProcessWorker&&) noexcept = default;  // an empty one has nothing to end
  ~ProcessWorker() override;

  base::Result<base::UniqueFd> connect() override;
  int exited_fd() const override { return exited_.get(); }
  std::string describe_exit() override;
  void kill() override;
  // The guest goes on without this object, for another process to adopt it.
  void leave() noexcept;
  pid_t pid() const noexcept { return child_.pid(); }
  int directory() const noexcept { return directory_.get(); }

 private:
  base::Child child_;
  base::UniqueFd exited_;
  base::UniqueFd directory_;  // of the sandbox, O_PATH: sockets are reached through it, so no path is too long
  base::UniqueFd log_;
  std::string name_;
  StatusText status_text_;
  std::string exit_text_;  // set once the child was reaped
};

// Errors: not_found and such with the name of the file, invalid_argument "not_a_file".
base::Result<LaunchFiles> open_launch_files(const LaunchPlan& plan);

// A listening socket, made in the directory open as `directory`: a client may connect from now on, and what it sends
// waits. `type` is SOCK_STREAM or SOCK_SEQPACKET. Errors: as bind's.
base::Result<base::UniqueFd> listen_in(int directory, const char* name, int type);
// A non-blocking connection to it. Errors: as connect's.
base::Result<base::UniqueFd> connect_in(int directory, const char* name, int type);

// What to show of a dead guest's log (untrusted bytes): its panic if there is one, else the last lines, joined by
// " | ", printable ASCII, at most limits::kGuestLogTail bytes.
std::string summarize_log(std::string_view log);

}  // namespace sandforge::backend
