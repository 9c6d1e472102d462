// SPDX-License-Identifier: Apache-2.0
// One running QEMU.
#pragma once

#include <string>

#include "backend/backend.hpp"
#include "base/process.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::backend {

// Name of the agent's listening socket in the sandbox's directory.
inline constexpr const char* kAgentSocket = "agent.sock";

// The log is a pipe that nobody reads while the guest lives: its first 64 KiB are kept by the kernel and the rest is
// refused, so a guest that floods its serial port fills no disk, takes no memory and slows only itself.
class QemuWorker final : public Worker {
 public:
  // `exited` is a second descriptor of the child's pidfd, so that it stays valid when the child has been reaped.
  QemuWorker(base::Child child, base::UniqueFd exited, base::UniqueFd directory, base::UniqueFd log, std::string name);
  ~QemuWorker() override;

  base::Result<base::UniqueFd> connect() override;
  int exited_fd() const override { return exited_.get(); }
  std::string describe_exit() override;
  void kill() override { child_.kill(); }

 private:
  base::Child child_;
  base::UniqueFd exited_;
  base::UniqueFd directory_;  // of the sandbox, O_PATH: sockets are reached through it, so no path is too long
  base::UniqueFd log_;
  std::string name_;
  std::string exit_text_;  // set once the child was reaped
};

// The listening socket, made in the directory open as `directory`: a client may connect from now on, and what it sends
// waits. Errors: as bind's.
base::Result<base::UniqueFd> listen_for_agent(int directory);

// What to show of a dead guest's log (untrusted bytes): its panic if there is one, else the last lines, joined by
// " | ", printable ASCII, at most limits::kGuestLogTail bytes.
std::string summarize_log(std::string_view log);

}  // namespace sandforge::backend
