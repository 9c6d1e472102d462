// SPDX-License-Identifier: Apache-2.0
#include "agent/connection.hpp"

#include <array>
#include <cstring>

namespace sandforge::agent {

using wire::FrameType;

namespace {
base::Error violation(const char* what) {
  return base::make_error(base::Code::Corrupt, "protocol", std::string("wire protocol: ") + what);
}

std::uint32_t number_of(std::string_view payload) noexcept {
  std::uint32_t value = 0;
  std::memcpy(&value, payload.data(), sizeof(value));  // SAFETY: callers checked for four bytes
  return value;
}
}  // namespace

class Connection::Entry final : public Stream {
 public:
  Entry(Connection& connection, std::uint32_t id) : connection_(connection), id_(id) {
    receive_window_.fill(limits::kStreamWindow);
  }

  void meta(std::string_view payload) override { send(FrameType::Meta, 0, payload, Channel::Urgency::Company); }
  void data(std::uint8_t channel, std::string_view bytes) override { send(FrameType::Data, channel, bytes); }
  void end(std::uint8_t channel) override { send(FrameType::End, channel, {}, Channel::Urgency::Company); }
  void give_credit(std::uint8_t channel, std::uint32_t bytes) override {
    receive_window_[channel] += bytes;
    char payload[4];
    std::memcpy(payload, &bytes, sizeof(bytes));
    send(FrameType::Credit, channel, {payload, sizeof(payload)});
  }
  void finish(const wire::ResultHeader& result) override {
    if (finished_) return;
    send(FrameType::Result, 0, wire::encode(result));
    finished_ = true;
    connection_.forget(id_);
  }
  bool congested() const override { return connection_.channel_.congested(); }

  std::shared_ptr<Operation> operation;
  // Bytes that the host may still send on a channel, and whether it ended it.
  std::array<std::uint64_t, wire::kChannelMax + 1> receive_window_{};
  std::array<bool, wire::kChannelMax + 1> ended_{};
  bool finished_ = false;

 private:
  void send(FrameType type, std::uint8_t flags, std::string_view payload,
            Channel::Urgency urgency = Channel::Urgency::Now) {
    if (!finished_) connection_.send(type, flags, id_, payload, urgency);
  }

  Connection& connection_;
  const std::uint32_t id_;
};

Connection::Connection(Loop& loop, Channel& channel, Services& services)
    : loop_(loop), channel_(channel), services_(services) {}

Connection::~Connection() {
  *alive_ = false;
  for (auto& [id, entry] : streams_) {
    entry->finished_ = true;
    if (entry->operation) entry->operation->abandon();
  }
}

void Connection::start() {
  const wire::Hello hello = services_.hello();
  nonce_ = hello.nonce;
  send(FrameType::Hello, 0, 0, wire::encode(hello));
}

base::Status Connection::received(std::string_view bytes) {
  parser_.feed(bytes);
  while (true) {
    SANDFORGE_TRY(const wire::FrameParser::Next next, parser_.next());
    if (!next.has_frame) return {};
    SANDFORGE_TRY_STATUS(handle(next.frame));
  }
}

base::Status Connection::handle(const wire::Frame& frame) {
  const wire::FrameHeader& header = frame.header;
  if (!welcomed_) {
    return header.type == FrameType::Welcome ? handle_welcome(frame) : violation("a frame before Welcome");
  }
  switch (header.type) {
    case FrameType::Hello:
    case FrameType::Welcome:
    case FrameType::Meta:
    case FrameType::Result: return violation("a frame that the host does not send");
    case FrameType::Ping:
      if (header.stream != 0) return violation("Ping on a stream");
      send(FrameType::Pong, 0, 0, frame.payload);
      return {};
    case FrameType::Pong: return {};
    case FrameType::Open: return handle_open(frame);
    default: break;
  }
  if (header.stream == 0 || header.stream > last_stream_) return violation("a frame of a stream that was not opened");
  const auto found = streams_.find(header.stream);
  // Gone or finished: the frame crossed our Result.
  if (found == streams_.end() || found->second->finished_) return {};
  return handle_stream(*found->second, frame);
}

base::Status Connection::handle_welcome(const wire::Frame& frame) {
  if (frame.header.stream != 0) return violation("Welcome on a stream");
  SANDFORGE_TRY(const wire::Welcome welcome, wire::decode<wire::Welcome>(frame.payload));
  if (welcome.magic != wire::kMagic || welcome.version != wire::kVersion) return violation("another version");
  if (welcome.nonce != nonce_) return violation("Welcome for another Hello");
  SANDFORGE_TRY_STATUS(services_.welcome(welcome));
  welcomed_ = true;
  return {};
}

base::Status Connection::handle_open(const wire::Frame& frame) {
  const std::uint32_t id = frame.header.stream;
  if (id == 0 || id >= 0x80000000U || id <= last_stream_) return violation("a stream number used twice");
  last_stream_ = id;
  auto open = wire::decode_open(frame.payload);
  if (!open) {
    if (open.error().code != base::Code::Unsupported) return std::move(open).error();
    refuse(id, open.error());
    return {};
  }
  if (streams_.size() >= limits::kStreamsMax) {
    refuse(id, base::make_error(base::Code::Exhausted, "too_many_streams", "too many operations at once"));
    return {};
  }
  auto entry = std::make_unique<Entry>(*this, id);
  auto operation = services_.make_operation(open.value(), *entry);
  if (!operation) {
    if (operation.error().code == base::Code::Corrupt) return std::move(operation).error();
    refuse(id, operation.error());
    return {};
  }
  entry->operation = std::move(operation).value();
  const std::shared_ptr<Operation> started = entry->operation;
  streams_.emplace(id, std::move(entry));
  started->start();
  return {};
}

base::Status Connection::handle_stream(Entry& entry, const wire::Frame& frame) {
  const std::uint8_t channel = frame.header.flags;
  switch (frame.header.type) {
    case FrameType::Data:
      if (entry.ended_[channel]) return violation("Data after End");
      if (frame.payload.size() > entry.receive_window_[channel]) return violation("Data beyond the window");
      entry.receive_window_[channel] -= frame.payload.size();
      if (!entry.operation->data(channel, frame.payload)) return violation("Data on a channel that takes none");
      return {};
    case FrameType::End:
      if (entry.ended_[channel]) return violation("End twice");
      entry.ended_[channel] = true;
      if (!entry.operation->end(channel)) return violation("End on a channel that takes no data");
      return {};
    case FrameType::Credit:
      if (frame.payload.size() != 4) return violation("malformed Credit");
      entry.operation->credit(channel, number_of(frame.payload));
      return {};
    case FrameType::Signal:
      if (frame.payload.size() != 4) return violation("malformed Signal");
      entry.operation->signal(number_of(frame.payload));
      return {};
    case FrameType::Cancel: entry.operation->cancel(); return {};
    default: return violation("unexpected frame");
  }
}

void Connection::backlog_cleared() {
  // An operation may finish meanwhile, which only marks its entry; the map changes in a later round.
  for (auto& [id, entry] : streams_) {
    if (channel_.congested()) return;
    entry->operation->backlog_cleared();
  }
}

void Connection::refuse(std::uint32_t stream, const base::Error& error) {
  send(FrameType::Result, 0, stream, wire::encode(result_of(error)));
}

void Connection::send(FrameType type, std::uint8_t flags, std::uint32_t stream, std::string_view payload,
                      Channel::Urgency urgency) {
  scratch_.clear();
  wire::append_frame(scratch_, type, flags, stream, payload);
  channel_.send(scratch_, urgency);
}

void Connection::forget(std::uint32_t stream) {
  loop_.defer([this, stream, alive = alive_] {
    if (*alive) streams_.erase(stream);
  });
}

}  // namespace sandforge::agent
