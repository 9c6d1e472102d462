// SPDX-License-Identifier: Apache-2.0
// The receiving half of SessionCore: reads, checks every frame of the agent against the protocol, hands it out.
#include "agent_client/session_core.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

namespace sandforge::agent_client {
namespace {

constexpr std::size_t kFirstChunk = 64 * limits::kKiB;

base::Error broke(std::string what) {
  return base::make_error(base::Code::Corrupt, "agent_protocol", "agent broke the protocol: " + std::move(what));
}

const char* frame_name(wire::FrameType type) {
  static constexpr const char* kNames[] = {"?",      "Hello",  "Welcome", "Open",   "Meta", "Data", "End",
                                           "Credit", "Result", "Signal",  "Cancel", "Ping", "Pong"};
  const auto number = static_cast<std::size_t>(type);
  return number < std::size(kNames) ? kNames[number] : "?";
}

std::string on_channel(const char* what, std::uint8_t channel) {
  return std::string(what) + " on channel " + std::to_string(channel);
}

}  // namespace

void SessionCore::start() {
  chunk_ = kFirstChunk;
  readable_ = loop_.on_readable(socket_.get(), [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->on_readable();
  });
}

void SessionCore::close() noexcept {
  state_ = State::Closed;
  events_ = nullptr;
  readable_.reset();
  writable_.reset();
  socket_.reset();
  for (auto& [id, stream] : streams_) {
    stream->finished = true;
    stream->events = nullptr;
  }
  streams_.clear();
  dirty_.clear();
  waiters_.clear();
}

// One read a turn, so that a talkative guest leaves the loop to the others; the watch is level-triggered.
void SessionCore::on_readable() {
  if (!alive()) return;
  const std::span<char> room = parser_.room(chunk_);
  const ssize_t count = ::recv(socket_.get(), room.data(), chunk_, MSG_DONTWAIT);
  if (count > 0) {
    if (static_cast<std::size_t>(count) == chunk_) chunk_ = limits::kReceiveChunk;
    parser_.commit(static_cast<std::size_t>(count));
    dispatch();
    if (write_broken_ && alive()) {
      loop_.post([weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->on_readable();
      });
    }
    return;
  }
  if (count < 0 && (errno == EINTR || ((errno == EAGAIN || errno == EWOULDBLOCK) && !write_broken_))) return;
  const int number = count < 0 && errno != EAGAIN && errno != ECONNRESET ? errno : 0;
  auto error =
      base::make_error(base::Code::Disconnected, "agent_lost",
                       state_ == State::AwaitingHello ? "the guest's agent closed the connection before it said hello"
                                                      : "the guest's agent closed the connection");
  error.os_errno = number;
  lose(std::move(error));
}

void SessionCore::dispatch() {
  in_dispatch_ = true;
  while (alive()) {
    auto next = parser_.next();
    if (!next) {
      lose(broke(std::move(next).error().message));
      break;
    }
    if (!next->has_frame) break;
    if (auto status = handle(next->frame); !status) {
      if (alive()) lose(std::move(status).error());
      break;
    }
  }
  in_dispatch_ = false;
  flush();
}

base::Status SessionCore::handle(const wire::Frame& frame) {
  using wire::FrameType;
  const auto [length, type, channel, id] = frame.header;
  if (state_ == State::AwaitingHello) return handle_hello(frame);
  if (type == FrameType::Ping) return handle_ping(frame);
  if (type != FrameType::Meta && type != FrameType::Data && type != FrameType::End && type != FrameType::Credit &&
      type != FrameType::Result) {
    return broke(std::string("unexpected frame ") + frame_name(type));
  }

  const auto found = streams_.find(id);
  if (found == streams_.end()) {
    const char* what = id == 0         ? " for the connection itself"
                       : id < next_id_ ? " for a stream that has ended"
                                       : " for a stream that was never opened";
    return broke(frame_name(type) + std::string(what));
  }
  const StreamPtr stream = found->second;  // a copy: callbacks may change the map
  switch (type) {
    case FrameType::Meta: return handle_meta(*stream, frame.payload);
    case FrameType::Data: return handle_data(stream, channel, frame.payload);
    case FrameType::End: return handle_end(*stream, channel);
    case FrameType::Credit: return handle_credit(stream, channel, frame.payload);
    default: return handle_result(stream, frame.payload);
  }
}

// Magic and version come first in every version's Hello, so that another version is told as such and not as garbage.
base::Status SessionCore::handle_hello(const wire::Frame& frame) {
  if (frame.header.type != wire::FrameType::Hello || frame.header.stream != 0) {
    return broke(std::string("its first frame is ") + frame_name(frame.header.type) + ", not Hello");
  }
  wire::Decoder head(frame.payload);
  std::uint32_t magic = 0;
  std::uint16_t version = 0;
  head(magic), head(version);
  if (!head.ok() || magic != wire::kMagic) return broke("its Hello has no magic number");
  if (version != wire::kVersion) {
    return base::make_error(base::Code::Unsupported, "agent_version",
                            "the guest's agent speaks protocol version " + std::to_string(version) + ", this library " +
                                std::to_string(wire::kVersion) + ": rebuild the image/initrd",
                            "rebuild the image with `sandforged image build`");
  }
  const auto hello = wire::decode<wire::Hello>(frame.payload);
  if (!hello) return broke(hello.error().message);

  wire::Welcome welcome;
  welcome.nonce = hello.value().nonce;
  welcome.realtime_ns =
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  welcome.entropy = std::move(welcome_.entropy);
  welcome.hostname = std::move(welcome_.hostname);
  welcome.machine_id = std::move(welcome_.machine_id);
  this->frame(wire::FrameType::Welcome, 0, 0, wire::encode(welcome));
  state_ = State::Ready;
  events_->on_ready(hello.value());
  return {};
}

base::Status SessionCore::handle_ping(const wire::Frame& ping) {
  if (ping.header.stream != 0) return broke("Ping on a stream");
  if (++pongs_pending_ > limits::kPongsPendingMax) return broke("more Pings than it reads answers");
  frame(wire::FrameType::Pong, 0, 0, ping.payload);
  return {};
}

base::Status SessionCore::handle_meta(StreamState& stream, std::string_view payload) {
  if (!stream.rules.meta_ok) return broke("Meta for an operation that has none");
  if (stream.meta_seen) return broke("Meta twice");
  if (stream.data_seen) return broke("Meta after data");
  if (!stream.rules.meta_ok(payload)) return broke("malformed Meta");
  stream.meta_seen = true;
  if (stream.events) stream.events->on_meta(payload);
  return {};
}

base::Status SessionCore::handle_data(const StreamPtr& stream, std::uint8_t channel, std::string_view bytes) {
  if (!(stream->rules.to_host >> channel & 1)) return broke(on_channel("Data", channel) + ", which it may not use");
  ReceiveSide& side = stream->in[channel];
  if (side.ended) return broke(on_channel("Data after End", channel));
  if (bytes.size() > side.window) return broke(on_channel("more Data than it has credit for", channel));
  const auto count = static_cast<std::uint32_t>(bytes.size());
  side.window -= count;
  side.unconsumed += count;
  stream->data_seen = true;
  if (!stream->events) {
    give_back(stream, channel, count);
  } else if (count > 0) {
    stream->events->on_data(channel, bytes);
  }
  return {};
}

base::Status SessionCore::handle_end(StreamState& stream, std::uint8_t channel) {
  if (!(stream.rules.to_host >> channel & 1)) return broke(on_channel("End", channel) + ", which it may not use");
  if (stream.in[channel].ended) return broke(on_channel("End twice", channel));
  end_window(stream.in[channel]);
  stream.data_seen = true;
  if (stream.events) stream.events->on_end(channel);
  return {};
}

base::Status SessionCore::handle_credit(const StreamPtr& stream, std::uint8_t channel, std::string_view payload) {
  if (!(stream->rules.to_agent >> channel & 1)) return broke(on_channel("Credit", channel) + ", which has no data");
  std::uint32_t amount = 0;
  wire::Decoder decoder(payload);
  decoder(amount);
  if (!decoder.ok()) return broke("malformed Credit");
  SendSide& side = stream->out[channel];
  if (std::uint64_t{side.credit} + amount > limits::kCreditMax) return broke(on_channel("Credit overflow", channel));
  side.credit += amount;
  if (side.wants_credit && !side.waits && side.credit > 0) {
    side.wants_credit = false;
    side.waits = true;
    waiters_.emplace_back(stream, channel);  // served by the flush at the end of this batch
  }
  return {};
}

base::Status SessionCore::handle_result(const StreamPtr& stream, std::string_view payload) {
  auto result = decode_result(stream->rules, payload);
  if (!result) return broke(result.error().message);
  streams_.erase(stream->id);
  stream->finished = true;
  for (ReceiveSide& side : stream->in) end_window(side);
  if (StreamEvents* events = std::exchange(stream->events, nullptr)) events->on_result(std::move(result));
  return {};
}

// Tells every stream, then the session's owner. Each callback may let go of other streams or close the session.
void SessionCore::lose(base::Error error) {
  state_ = State::Lost;
  readable_.reset();
  writable_.reset();
  socket_.reset();
  out_.clear();
  sent_ = 0;
  dirty_.clear();
  waiters_.clear();
  std::vector<StreamPtr> streams;
  for (auto& [id, stream] : std::exchange(streams_, {})) streams.push_back(stream);
  std::sort(streams.begin(), streams.end(), [](const auto& a, const auto& b) { return a->id < b->id; });
  for (const StreamPtr& stream : streams) stream->finished = true;
  for (const StreamPtr& stream : streams) {
    if (state_ == State::Closed) return;
    if (StreamEvents* events = std::exchange(stream->events, nullptr)) events->on_result(error);
  }
  if (state_ != State::Closed) events_->on_lost(std::move(error));
}

}  // namespace sandforge::agent_client
