// SPDX-License-Identifier: Apache-2.0
// GuestMounts: asks a guest's agent to mount what the file server serves, one after the other, before the sandbox is
// ready. Loop thread only.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent_client/session.hpp"
#include "base/result.hpp"
#include "engine/spec.hpp"

namespace sandforge::engine {

class GuestMounts final : private agent_client::StreamEvents {
 public:
  // `done` is called once, from the loop, and may destroy this; never after this was destroyed. Mount i of the list is
  // directory i of the file server. `session` outlives it.
  GuestMounts(agent_client::Session& session, std::vector<Mount> mounts, std::function<void(base::Status)> done)
      : session_(session), mounts_(std::move(mounts)), done_(std::move(done)) {}

  void start() { next(); }

 private:
  void next();
  void finish(base::Status status);

  void on_meta(std::string_view) override {}
  void on_data(std::uint8_t, std::string_view) override {}
  void on_end(std::uint8_t) override {}
  void on_sendable(std::uint8_t) override {}
  void on_result(base::Result<wire::ResultHeader> result) override;

  agent_client::Session& session_;
  const std::vector<Mount> mounts_;
  std::function<void(base::Status)> done_;
  std::size_t at_ = 0;
  std::unique_ptr<agent_client::Stream> stream_;
};

// The request that mounts directory `index` of the file server.
std::string mount_request(std::uint32_t index, const Mount& mount);
// What an agent's refusal means to the caller.
base::Error mount_error(const Mount& mount, const wire::ResultHeader& result);

}  // namespace sandforge::engine
