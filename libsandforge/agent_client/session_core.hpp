// SPDX-License-Identifier: Apache-2.0
// SessionCore: the state behind Session and its Streams. Handles and pending callbacks share it, so a callback may
// destroy any of them, the session included. Loop thread only.
//
//   awaiting_hello --Hello ok--> ready --peer closed, protocol broken--> lost
//         \____________________________________________________________/ |
//                                       close() by the owner, from any: closed (nobody is told)
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "agent_client/rules.hpp"
#include "agent_client/session.hpp"

namespace sandforge::agent_client {

// One direction of one channel.
struct SendSide {
  std::uint32_t credit = 0;  // bytes that may still go out
  bool ended = true;
  bool wants_credit = false;  // a send() fell short for want of credit
  bool waits = false;         // is in SessionCore::waiters_
};
struct ReceiveSide {
  std::uint32_t size = limits::kStreamWindow;  // of the window: what the agent may send while nothing is given back
  std::uint32_t window = 0;                    // bytes that the agent may still send
  std::uint32_t unconsumed = 0;                // came in, not given back by the owner
  std::uint32_t to_grant = 0;                  // given back, not yet told to the agent
  bool ended = true;
};

struct StreamState {
  std::uint32_t id = 0;
  OperationRules rules;
  StreamEvents* events = nullptr;  // null once the owner let go
  bool meta_seen = false, data_seen = false;
  bool cancelled = false;
  bool finished = false;      // Result came, or the session is gone
  bool dirty = false;         // is in SessionCore::dirty_
  std::uint64_t signals = 0;  // pending, bit n-1 for signal n: they coalesce as a process's own do
  std::array<SendSide, wire::kChannelMax + 1> out;
  std::array<ReceiveSide, wire::kChannelMax + 1> in;
};
using StreamPtr = std::shared_ptr<StreamState>;

class SessionCore : public std::enable_shared_from_this<SessionCore> {
 public:
  SessionCore(base::EventLoop& loop, base::UniqueFd socket, WelcomeFields welcome, SessionEvents& events)
      : loop_(loop), socket_(std::move(socket)), welcome_(std::move(welcome)), events_(&events) {}

  void start();
  void close() noexcept;
  base::Result<StreamPtr> open(std::string request, StreamEvents& events);

  // What a Stream asks for; all are harmless once the stream is finished.
  std::size_t send(const StreamPtr& stream, std::uint8_t channel, std::string_view bytes);
  void end(const StreamPtr& stream, std::uint8_t channel);
  void signal(const StreamPtr& stream, std::uint32_t number);
  void cancel(const StreamPtr& stream);
  std::uint32_t consumed(const StreamPtr& stream, std::uint8_t channel, std::size_t bytes);
  void let_go(const StreamPtr& stream);

 private:
  enum class State : std::uint8_t { AwaitingHello, Ready, Lost, Closed };

  bool alive() const noexcept { return state_ == State::AwaitingHello || state_ == State::Ready; }

  // Receiving (session_core.cpp). A handler's error is what the agent did wrong.
  void on_readable();
  void dispatch();
  base::Status handle(const wire::Frame& frame);
  base::Status handle_hello(const wire::Frame& frame);
  base::Status handle_ping(const wire::Frame& frame);
  base::Status handle_meta(StreamState& stream, std::string_view payload);
  base::Status handle_data(const StreamPtr& stream, std::uint8_t channel, std::string_view bytes);
  base::Status handle_end(StreamState& stream, std::uint8_t channel);
  base::Status handle_credit(const StreamPtr& stream, std::uint8_t channel, std::string_view payload);
  base::Status handle_result(const StreamPtr& stream, std::string_view payload);
  void lose(base::Error error);

  // Sending (session.cpp)
  std::size_t pending() const noexcept { return out_.size() - sent_; }
  void frame(wire::FrameType type, std::uint8_t flags, std::uint32_t stream, std::string_view payload);
  void mark_dirty(const StreamPtr& stream);
  void schedule_flush();
  void flush_posted();
  void flush();
  void emit_dirty();
  void write_out();
  void serve_waiters();
  void give_back(const StreamPtr& stream, std::uint8_t channel, std::uint32_t bytes);
  void end_window(ReceiveSide& side);

  base::EventLoop& loop_;
  base::UniqueFd socket_;
  WelcomeFields welcome_;
  SessionEvents* events_;
  State state_ = State::AwaitingHello;

  base::Subscription readable_, writable_;
  wire::FrameParser parser_;
  std::size_t chunk_ = 0;  // of the next read: grows while reads fill it

  std::string out_;       // frames, oldest first
  std::size_t sent_ = 0;  // bytes of out_ that have gone
  std::size_t pongs_pending_ = 0;
  bool flush_posted_ = false;
  bool blocked_ = false;       // the socket is full: writable_ tells when it is not
  bool in_dispatch_ = false;   // flush comes at its end
  bool write_broken_ = false;  // the peer no longer reads; what it wrote before is still read

  std::unordered_map<std::uint32_t, StreamPtr> streams_;  // open ones, those that nobody owns any more included
  std::uint32_t next_id_ = 1;
  std::uint32_t wide_windows_ = 0;
  std::vector<StreamPtr> dirty_;                            // have credit or signals to tell
  std::deque<std::pair<StreamPtr, std::uint8_t>> waiters_;  // for room in out_, first come first served
  StreamState* turn_ = nullptr;                             // whose on_sendable is running
  std::size_t turn_left_ = 0;                               // bytes it may still take
};

}  // namespace sandforge::agent_client
