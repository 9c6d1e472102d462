// SPDX-License-Identifier: Apache-2.0
// Agent: owns the parts, joins channel and connection, and makes an operation of each request. Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "agent/channel.hpp"
#include "agent/connection.hpp"
#include "agent/console.hpp"
#include "agent/file_operation.hpp"
#include "agent/loop.hpp"
#include "agent/reaper.hpp"
#include "agent/task.hpp"
#include "agent/workers.hpp"
#include "agent/workspaces.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::agent {

struct AgentOptions {
  std::string root_path = "/newroot";  // the guest's root, a mount point
  std::string cgroup_path;             // cgroup2 directory; empty: none
  bool in_guest = true;                // PID 1: owns clock, host name and power
  WorkspaceOptions workspaces;
};

class Agent final : public Services, private ChannelEvents {
 public:
  Agent(Console& console, AgentOptions options);

  base::Status open();
  // Serves until shutdown, or until a given channel's peer is gone and its tasks are dead.
  base::Status run(Channel::Kind kind, base::UniqueFd channel, std::uint32_t port = 0);

 private:
  wire::Hello hello() override;
  base::Status welcome(const wire::Welcome& welcome) override;
  base::Result<std::shared_ptr<Operation>> make_operation(const wire::Open& open, Stream& stream) override;
  void log(std::string_view text) override;

  void connected() override;
  void received(std::string_view bytes) override;
  void drained() override;
  void disconnected() override;

  // What changes the machine as a whole is refused outside a guest.
  base::Status own_guest(const std::function<base::Status()>& action);
  void shut_down();
  // Ends run() once no task is alive.
  void stop_when_idle();

  static constexpr int kFlushMs = 1000;

  Console& console_;
  const AgentOptions options_;
  Loop loop_;
  Reaper reaper_;
  Workers workers_;
  CgroupRoot cgroups_;
  base::UniqueFd root_;
  base::UniqueFd null_device_;
  TaskContext tasks_;
  FileContext files_;
  std::shared_ptr<Workspaces> workspaces_;  // of jobs that may outlive this object, too
  Channel channel_;
  std::unique_ptr<Connection> connection_;
  std::uint64_t nonce_ = 0;
  std::int64_t ready_ns_ = 0;
};

}  // namespace sandforge::agent
