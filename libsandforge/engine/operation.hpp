// SPDX-License-Identifier: Apache-2.0
// Operation: one stream to a sandbox's agent, and the bridge from a caller's thread to the loop's.
//
//   caller: begin() --post--> loop: Sandbox::open -> on_opened | on_failed
//                             loop: on_meta/on_data/on_end/on_sendable … on_result -> detach()
// A sandbox holds its open operations, an operation its sandbox; detach() ends both ties.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "agent_client/session.hpp"
#include "base/result.hpp"
#include "wire/messages.hpp"

namespace sandforge::engine {

class Core;
class Sandbox;

class Operation : public agent_client::StreamEvents, public std::enable_shared_from_this<Operation> {
 public:
  // What a sandbox shows while the operation is open.
  enum class Kind { Exec, FileWrite, FileRead, Call };

  Operation(std::shared_ptr<Sandbox> sandbox, Kind kind, std::string request);
  ~Operation() override = default;

  Kind kind() const noexcept { return kind_; }

  // Caller's thread: asks the loop to open the stream. Errors: conflict "not_ready", disconnected, those of may_begin.
  base::Status begin();
  // The same, and the caller opens it himself when the loop sleeps: for operations whose events call no function of the
  // user's, who was promised the engine's thread.
  base::Status begin_at_once();

  // Loop thread, called by the sandbox.
  void open_on(agent_client::Session& session);
  // It was never opened, or its sandbox is going: `verdict` is for commands, `error` for everything else.
  virtual void end_by_sandbox(wire::EndedBy verdict, const base::Error& error) = 0;

 protected:
  // Caller's thread. Whether the policy lets it begin.
  virtual base::Status may_begin() { return {}; }
  // Loop thread. The stream was opened; agent_stream() is there.
  virtual void on_opened() {}
  // Loop thread. No stream could be had.
  virtual void on_failed(base::Error error) = 0;

  // Loop thread. Lets go of the stream, which cancels what still runs, and of the sandbox's hold on this object.
  void detach();
  agent_client::Stream* agent_stream() noexcept { return stream_.get(); }  // null before and after
  Core& core() noexcept;
  const std::shared_ptr<Sandbox>& sandbox() const noexcept { return sandbox_; }

  // Any thread: runs `task` on the loop with this object kept alive.
  base::Status post_self(std::function<void()> task);

  // Events that most operations have no use for.
  void on_meta(std::string_view) override {}
  void on_data(std::uint8_t, std::string_view) override {}
  void on_end(std::uint8_t) override {}
  void on_sendable(std::uint8_t) override {}

 private:
  friend class Sandbox;
  const std::shared_ptr<Sandbox> sandbox_;
  const Kind kind_;
  std::string request_;                           // encoded Open; given away when opened
  std::unique_ptr<agent_client::Stream> stream_;  // loop thread only
};

}  // namespace sandforge::engine
