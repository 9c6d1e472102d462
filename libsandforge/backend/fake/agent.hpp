// SPDX-License-Identifier: Apache-2.0
// FakeAgent: the agent's half of one connection, without the socket: bytes in, bytes out, a clock. One thread.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "backend/fake/task.hpp"
#include "wire/frames.hpp"
#include "wire/messages.hpp"

namespace sandforge::backend::fake {

// What outlives a connection: the guest itself.
struct GuestState {
  FileTree files;
  std::string hostname, machine_id;
  std::uint32_t next_pid = 100;
  std::uint64_t nonce = 0;
  Clock::time_point booted = Clock::now();
  bool powered_off = false;
  bool crashed = false;
  bool crash_on_exec = false;
};

class FakeAgent {
 public:
  // Says Hello, of version `version`.
  FakeAgent(GuestState& guest, std::uint16_t version);
  ~FakeAgent();

  // Takes what the host wrote. Corrupt: the host broke the protocol, the connection is of no use.
  base::Status receive(std::string_view bytes);
  // Runs tasks and fills out(); true when there is more to do at once.
  bool advance();
  // When advance() has something to do again although nothing came.
  Clock::time_point next_deadline() const;

  std::string& out() noexcept { return out_; }  // the caller removes what it wrote

 private:
  struct Stream;
  using Operation = wire::Operation;

  base::Status handle(const wire::Frame& frame);
  base::Status open(std::uint32_t id, std::string_view payload);
  base::Status start(Stream& stream, Operation operation, std::string_view request);
  void start_exec(Stream& stream, const wire::ExecRequest& request);
  void start_read(Stream& stream, const wire::FileReadRequest& request);
  void start_list(Stream& stream, const wire::PathRequest& request);
  void simple(Stream& stream, const base::Status& status, std::string body = {});
  base::Status take_data(Stream& stream, std::uint8_t channel, std::string_view bytes);

  bool advance_stream(Stream& stream);
  bool run_task(Stream& stream);
  bool send_output(Stream& stream, std::uint8_t channel, std::string& bytes);
  bool advance_exec(Stream& stream);
  bool advance_content(Stream& stream);
  void end_task(Stream& stream, wire::EndedBy ended_by, int exit_code, int signal, std::string reason);
  void give_credit(Stream& stream, std::uint8_t channel, std::size_t bytes);
  void result(Stream& stream, wire::ResultHeader header);
  void frame(wire::FrameType type, std::uint8_t flags, const Stream& stream, std::string_view payload = {});

  GuestState& guest_;
  wire::FrameParser parser_;
  std::string out_;
  bool welcomed_ = false;
  std::uint32_t last_id_ = 0;
  std::uint32_t served_last_ = 0;
  std::map<std::uint32_t, std::unique_ptr<Stream>> streams_;
};

}  // namespace sandforge::backend::fake
