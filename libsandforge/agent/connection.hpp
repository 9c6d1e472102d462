// SPDX-License-Identifier: Apache-2.0
// Connection: frames, streams and credit of one connection of the host. A lost connection ends the operations of its
// streams, tasks included: to resume them on the next connection comes with a later version of the protocol.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "agent/channel.hpp"
#include "agent/loop.hpp"
#include "agent/stream.hpp"
#include "base/result.hpp"
#include "wire/frames.hpp"
#include "wire/messages.hpp"

namespace sandforge::agent {

// What the connection needs from the rest of the agent.
class Services {
 public:
  virtual ~Services() = default;
  virtual wire::Hello hello() = 0;
  // Before any stream of this connection: clock, entropy, identity.
  virtual base::Status welcome(const wire::Welcome& welcome) = 0;
  // The operation of an Open, not started yet. `stream` outlives the operation's use of it: see Operation::abandon.
  virtual base::Result<std::shared_ptr<Operation>> make_operation(const wire::Open& open, Stream& stream) = 0;
  virtual void log(std::string_view text) = 0;
};

class Connection {
 public:
  Connection(Loop& loop, Channel& channel, Services& services);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Says hello.
  void start();
  // Corrupt: the peer broke the protocol; the caller drops the channel and this object.
  base::Status received(std::string_view bytes);
  void backlog_cleared();
  std::size_t stream_count() const noexcept { return streams_.size(); }

 private:
  class Entry;
  friend class Entry;

  base::Status handle(const wire::Frame& frame);
  base::Status handle_welcome(const wire::Frame& frame);
  base::Status handle_open(const wire::Frame& frame);
  base::Status handle_stream(Entry& entry, const wire::Frame& frame);
  void refuse(std::uint32_t stream, const base::Error& error);
  void send(wire::FrameType type, std::uint8_t flags, std::uint32_t stream, std::string_view payload,
            Channel::Urgency urgency = Channel::Urgency::Now);
  void forget(std::uint32_t stream);

  Loop& loop_;
  Channel& channel_;
  Services& services_;
  wire::FrameParser parser_;
  std::uint64_t nonce_ = 0;
  bool welcomed_ = false;
  std::uint32_t last_stream_ = 0;  // the highest number used so far
  std::map<std::uint32_t, std::unique_ptr<Entry>> streams_;
  std::string scratch_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for deferred work that may come after this object
};

}  // namespace sandforge::agent
