// SPDX-License-Identifier: Apache-2.0
// The handles Session and Stream, and the sending half of SessionCore: one buffer of whole frames, written once per
// turn of the loop, with room in it handed out in turns.
#include "agent_client/session.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "agent_client/session_core.hpp"

namespace sandforge::agent_client {
namespace {

// Credit is told in pieces of a quarter window: a command with little output costs no Credit frame at all, and the
// agent always has the other three quarters to go on with.
std::uint32_t grant_step(const ReceiveSide& side) { return side.size / 4; }

class StreamHandle final : public Stream {
 public:
  StreamHandle(std::shared_ptr<SessionCore> core, StreamPtr state) : core_(std::move(core)), state_(std::move(state)) {}
  ~StreamHandle() override { core_->let_go(state_); }

  std::size_t send(std::uint8_t channel, std::string_view bytes) override {
    return core_->send(state_, channel, bytes);
  }
  void end(std::uint8_t channel) override { core_->end(state_, channel); }
  void signal(std::uint32_t number) override { core_->signal(state_, number); }
  void cancel() override { core_->cancel(state_); }
  std::uint32_t consumed(std::uint8_t channel, std::size_t bytes) override {
    return core_->consumed(state_, channel, bytes);
  }

 private:
  std::shared_ptr<SessionCore> core_;
  StreamPtr state_;
};

class SessionHandle final : public Session {
 public:
  explicit SessionHandle(std::shared_ptr<SessionCore> core) : core_(std::move(core)) {}
  ~SessionHandle() override { core_->close(); }

  base::Result<std::unique_ptr<Stream>> open(std::string request, StreamEvents& events) override {
    SANDFORGE_TRY(auto state, core_->open(std::move(request), events));
    return std::unique_ptr<Stream>(std::make_unique<StreamHandle>(core_, std::move(state)));
  }

 private:
  std::shared_ptr<SessionCore> core_;
};

std::string_view u32_bytes(const std::uint32_t& number) {
  return {reinterpret_cast<const char*>(&number), sizeof(number)};  // SAFETY: little-endian, asserted in wire/codec.hpp
}

}  // namespace

std::unique_ptr<Session> start_session(base::EventLoop& loop, base::UniqueFd socket, WelcomeFields welcome,
                                       SessionEvents& events) {
  auto core = std::make_shared<SessionCore>(loop, std::move(socket), std::move(welcome), events);
  core->start();
  return std::make_unique<SessionHandle>(std::move(core));
}

base::Result<StreamPtr> SessionCore::open(std::string request, StreamEvents& events) {
  using base::Code;
  using base::make_error;
  if (state_ == State::AwaitingHello) {
    return make_error(Code::Disconnected, "agent_not_ready", "the guest's agent has not said hello yet");
  }
  if (!alive()) return make_error(Code::Disconnected, "agent_lost", "the connection to the guest's agent is gone");
  if (request.size() > limits::kRequestMax) {
    return make_error(Code::InvalidArgument, "request_too_large",
                      "the request has " + std::to_string(request.size()) + " bytes, at most " +
                          std::to_string(limits::kRequestMax) + " are possible");
  }
  const auto opened = wire::decode_open(request);
  if (!opened) return make_error(Code::InvalidArgument, {}, "the request is not an encoded operation");
  if (streams_.size() >= limits::kStreamsMax || pending() >= limits::kSessionBacklogMax || next_id_ > INT32_MAX) {
    return make_error(Code::Exhausted, "too_many_operations",
                      "the sandbox has " + std::to_string(streams_.size()) + " operations under way",
                      "wait for some of them to end");
  }

  auto stream = std::make_shared<StreamState>();
  stream->id = next_id_++;
  stream->rules = rules_of(opened.value().operation);
  stream->events = &events;
  for (std::uint8_t channel = 0; channel <= wire::kChannelMax; ++channel) {
    if (stream->rules.to_agent >> channel & 1) {
      stream->out[channel].ended = false;
      stream->out[channel].credit = limits::kStreamWindow;
    }
    if (stream->rules.to_host >> channel & 1) {
      stream->in[channel].ended = false;
      stream->in[channel].window = limits::kStreamWindow;
    }
  }
  frame(wire::FrameType::Open, 0, stream->id, request);
  streams_.emplace(stream->id, stream);
  return stream;
}

std::size_t SessionCore::send(const StreamPtr& stream, std::uint8_t channel, std::string_view bytes) {
  if (!alive() || stream->finished || channel > wire::kChannelMax || bytes.empty()) return 0;
  SendSide& side = stream->out[channel];
  if (side.ended) return 0;
  const std::size_t wanted = std::min<std::size_t>(bytes.size(), side.credit);
  side.wants_credit = wanted < bytes.size();

  std::size_t room = limits::kSessionSendMax - std::min(pending(), limits::kSessionSendMax);
  if (turn_ == stream.get()) {
    room = std::min(room, turn_left_);
  } else if (!waiters_.empty()) {
    room = 0;  // others asked before
  }
  const std::size_t taken = std::min(wanted, room);
  for (std::size_t at = 0; at < taken; at += limits::kFramePayloadMax) {
    frame(wire::FrameType::Data, channel, stream->id, bytes.substr(at, std::min(limits::kFramePayloadMax, taken - at)));
  }
  side.credit -= static_cast<std::uint32_t>(taken);
  if (turn_ == stream.get()) turn_left_ -= taken;
  if (taken < wanted && !side.waits) {
    side.waits = true;
    waiters_.emplace_back(stream, channel);
    schedule_flush();
  }
  return taken;
}

void SessionCore::end(const StreamPtr& stream, std::uint8_t channel) {
  if (!alive() || stream->finished || channel > wire::kChannelMax || stream->out[channel].ended) return;
  stream->out[channel].ended = true;
  frame(wire::FrameType::End, channel, stream->id, {});
}

void SessionCore::signal(const StreamPtr& stream, std::uint32_t number) {
  if (!alive() || stream->finished || stream->cancelled || !stream->rules.signals || number < 1 || number > 64) return;
  stream->signals |= std::uint64_t{1} << (number - 1);
  mark_dirty(stream);
}

void SessionCore::cancel(const StreamPtr& stream) {
  if (!alive() || stream->finished || stream->cancelled) return;
  stream->cancelled = true;
  for (SendSide& side : stream->out) side.ended = true;
  frame(wire::FrameType::Cancel, 0, stream->id, {});
}

std::uint32_t SessionCore::consumed(const StreamPtr& stream, std::uint8_t channel, std::size_t bytes) {
  if (!alive() || stream->finished || channel > wire::kChannelMax) return limits::kStreamWindow;
  ReceiveSide& side = stream->in[channel];
  give_back(stream, channel, static_cast<std::uint32_t>(std::min<std::size_t>(bytes, side.unconsumed)));
  return side.size;
}

// The owner is gone but the agent is not done: what it still sends is taken off its hands, or it could never finish.
void SessionCore::let_go(const StreamPtr& stream) {
  stream->events = nullptr;
  cancel(stream);
  for (std::uint8_t channel = 0; channel <= wire::kChannelMax; ++channel) {
    consumed(stream, channel, stream->in[channel].unconsumed);
  }
}

void SessionCore::give_back(const StreamPtr& stream, std::uint8_t channel, std::uint32_t bytes) {
  ReceiveSide& side = stream->in[channel];
  side.unconsumed -= bytes;
  side.to_grant += bytes;
  if (side.ended || side.to_grant < grant_step(side)) return;
  // Each Credit is a packet, and an interrupt, for the guest: where much comes and is taken, a wide window saves most.
  if (side.size < limits::kStreamWindowWide && wide_windows_ < limits::kWideWindowsMax && stream->events) {
    side.to_grant += limits::kStreamWindowWide - side.size;
    side.size = limits::kStreamWindowWide;
    ++wide_windows_;
  }
  mark_dirty(stream);
}

// The channel gets no more data: another may have its place among the wide ones.
void SessionCore::end_window(ReceiveSide& side) {
  side.ended = true;
  if (side.size == limits::kStreamWindow) return;
  side.size = limits::kStreamWindow;
  --wide_windows_;
}

void SessionCore::frame(wire::FrameType type, std::uint8_t flags, std::uint32_t stream, std::string_view payload) {
  wire::append_frame(out_, type, flags, stream, payload);
  schedule_flush();
}

void SessionCore::mark_dirty(const StreamPtr& stream) {
  if (!stream->dirty) {
    stream->dirty = true;
    dirty_.push_back(stream);
  }
  schedule_flush();
}

// All that is said during one turn of the loop goes out in one write at its end.
void SessionCore::schedule_flush() {
  if (flush_posted_ || in_dispatch_ || blocked_) return;
  flush_posted_ = true;
  loop_.defer([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->flush_posted();
  });
}

void SessionCore::flush_posted() {
  if (!waiters_.empty() && loop_.in_callers_turn()) {
    // Those who wait for room are told on the loop's thread.
    loop_.post([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->flush_posted();
    });
    return;
  }
  flush_posted_ = false;
  flush();
}

void SessionCore::flush() {
  if (!alive()) return;
  emit_dirty();
  write_out();
  serve_waiters();
  if (alive() && (pending() > 0 || !dirty_.empty())) schedule_flush();
}

// Credit and signals are counters until there is room: a peer that does not read cannot make them pile up.
void SessionCore::emit_dirty() {
  std::size_t done = 0;
  for (; done < dirty_.size() && pending() < limits::kSessionSendMax; ++done) {
    StreamState& stream = *dirty_[done];
    stream.dirty = false;
    if (stream.finished) continue;
    for (std::uint8_t channel = 0; channel <= wire::kChannelMax; ++channel) {
      ReceiveSide& side = stream.in[channel];
      if (side.ended || side.to_grant < grant_step(side)) continue;
      wire::append_frame(out_, wire::FrameType::Credit, channel, stream.id, u32_bytes(side.to_grant));
      side.window += side.to_grant;
      side.to_grant = 0;
    }
    for (std::uint32_t number = 1; stream.signals != 0; ++number, stream.signals >>= 1) {
      if (stream.signals & 1) wire::append_frame(out_, wire::FrameType::Signal, 0, stream.id, u32_bytes(number));
    }
  }
  dirty_.erase(dirty_.begin(), dirty_.begin() + static_cast<std::ptrdiff_t>(done));
}

void SessionCore::write_out() {
  if (blocked_) return;
  while (pending() > 0 && !write_broken_) {
    const ssize_t count = ::send(socket_.get(), out_.data() + sent_, pending(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) {
      sent_ += static_cast<std::size_t>(count);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (sent_ > 0) out_.erase(0, std::exchange(sent_, 0));
      blocked_ = true;
      if (!writable_) {
        writable_ = loop_.on_writable(socket_.get(), [weak = weak_from_this()] {
          if (const auto self = weak.lock()) {
            self->blocked_ = false;
            self->flush();
          }
        });
      }
      return;
    } else if (errno != EINTR) {
      // What the agent wrote before it went is still to be read: the reading half tells the end.
      write_broken_ = true;
      loop_.post([weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->on_readable();
      });
    }
  }
  out_.clear();
  sent_ = 0;
  pongs_pending_ = 0;
  if (out_.capacity() > 2 * limits::kSessionSendMax) out_.shrink_to_fit();
  writable_.reset();
}

// Each stream that waits gets its turn, and at most kSessionSendTurn bytes in it while there are others.
void SessionCore::serve_waiters() {
  while (alive() && !waiters_.empty() && pending() < limits::kSessionSendMax) {
    const auto [stream, channel] = std::move(waiters_.front());
    waiters_.pop_front();
    stream->out[channel].waits = false;
    if (stream->finished || !stream->events || stream->out[channel].ended) continue;
    turn_ = stream.get();
    turn_left_ = waiters_.empty() ? limits::kSessionSendMax : limits::kSessionSendTurn;
    stream->events->on_sendable(channel);
    turn_ = nullptr;
  }
}

}  // namespace sandforge::agent_client
