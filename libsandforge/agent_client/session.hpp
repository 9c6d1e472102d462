// SPDX-License-Identifier: Apache-2.0
// Session: the host's half of one connection to a guest agent. Streams of operations, multiplexed, with credit. All of
// it lives on the engine's loop thread; callbacks come from there and may call back in, also to end the session.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/event_loop.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "wire/messages.hpp"

namespace sandforge::agent_client {

class Session;

// What the owner of a stream is told. Views are borrowed for the call.
class StreamEvents {
 public:
  virtual ~StreamEvents() = default;
  virtual void on_meta(std::string_view payload) = 0;                      // encoded Started or FileInfo
  virtual void on_data(std::uint8_t channel, std::string_view bytes) = 0;  // never more than the credit given
  virtual void on_end(std::uint8_t channel) = 0;
  virtual void on_sendable(std::uint8_t channel) = 0;  // send() may take bytes again
  // Last call of a stream: the agent's Result, or the error that ended the session (disconnected, corrupt).
  virtual void on_result(base::Result<wire::ResultHeader> result) = 0;
};

// One operation. Held by its owner; letting go of it before the result cancels the operation and silences its events.
class Stream {
 public:
  virtual ~Stream() = default;
  // Takes as many bytes as credit (and the session's own send buffer cap) allows; the rest is the caller's to keep
  // until on_sendable.
  virtual std::size_t send(std::uint8_t channel, std::string_view bytes) = 0;
  virtual void end(std::uint8_t channel) = 0;
  virtual void signal(std::uint32_t number) = 0;
  virtual void cancel() = 0;
  // Gives the agent `bytes` of new credit: call it when they were consumed. The window that the channel has from now
  // on: limits::kStreamWindow, or kStreamWindowWide once a reader has shown that it takes what comes.
  virtual std::uint32_t consumed(std::uint8_t channel, std::size_t bytes) = 0;
};

class SessionEvents {
 public:
  virtual ~SessionEvents() = default;
  virtual void on_ready(const wire::Hello& hello) = 0;  // Welcome is on its way; streams may be opened from here on
  virtual void on_lost(base::Error error) = 0;          // once; all streams have had their on_result before it
};

class Session {
 public:
  virtual ~Session() = default;  // closes; no callback after it
  // `request` is an encoded Open payload (wire::encode_open). Errors: disconnected, exhausted (kStreamsMax),
  // invalid_argument (over kRequestMax).
  virtual base::Result<std::unique_ptr<Stream>> open(std::string request, StreamEvents& events) = 0;
};

// Fields of the Welcome that this session will answer the Hello with (magic, version, nonce and clock are filled in).
struct WelcomeFields {
  std::string entropy, hostname, machine_id;
};

// Takes over a connected non-blocking stream socket. `events` and `loop` outlive the session.
std::unique_ptr<Session> start_session(base::EventLoop& loop, base::UniqueFd socket, WelcomeFields welcome,
                                       SessionEvents& events);

}  // namespace sandforge::agent_client
