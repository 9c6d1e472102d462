// SPDX-License-Identifier: Apache-2.0
// Channel: the byte stream to the host, over a virtio-serial port, a vsock listener, a vsock
// connection that the agent makes, or a descriptor that was handed in.
//
//            host opens its end                 host closes its end, or the peer broke the protocol
//      down ---------------------> up (connected()) ---------------------> down (disconnected())
//
// A virtio-serial port is one descriptor for all connections; whether the host has its end open is seen as POLLHUP. It
// is watched edge-triggered, since POLLHUP stays set while nobody is there and a level-triggered watch would spin.
// The kernel tells only the present state: a host that hangs up and is back before the guest has looked is not noticed
// and gets no Hello. It should hang up and try again a little later; the next hang-up that is seen puts all right.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "agent/loop.hpp"
#include "base/limits.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::agent {

class ChannelEvents {
 public:
  virtual ~ChannelEvents() = default;
  virtual void connected() = 0;
  virtual void received(std::string_view bytes) = 0;
  // Room in the output queue after congested() was true.
  virtual void drained() = 0;
  virtual void disconnected() = 0;
};

class Channel {
 public:
  enum class Kind : std::uint8_t {
    Port,      // virtio-serial: reconnects on the same descriptor
    Listener,  // vsock: one connection at a time, a newer one replaces the older
    Dialer,    // vsock: the agent connects, and connects again when the host has hung up
    Given,     // a connected descriptor: its end is the end of the channel
  };

  Channel(Loop& loop, ChannelEvents& events) : loop_(loop), events_(events) {}
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // `fd` is non-blocking afterwards. The first connected() may come before this returns. A Dialer's `fd` comes from
  // dial_vsock(port).
  base::Status start(Kind kind, base::UniqueFd fd, std::uint32_t port = 0);

  enum class Urgency : std::uint8_t {
    Now,      // leaves with this round of the loop
    Company,  // leaves with the next that is sent, or by itself after kCompanyMs
  };
  // Queues whole frames; written as the host takes them. Dropped while down.
  void send(std::string_view bytes, Urgency urgency = Urgency::Now);
  // More than limits::kAgentBacklog bytes wait: whoever can wait should stop producing until drained().
  bool congested() const noexcept { return out_.size() - out_offset_ > limits::kAgentBacklog; }
  // Nothing waits to be written.
  bool flushed() const noexcept { return out_offset_ == out_.size(); }
  // BLOCKS until the host took everything, for at most `timeout_ms`. For the last answer before the guest ends.
  void flush_blocking(int timeout_ms);
  // Ends the connection. A port cannot be hung up from inside: it ignores all until the host closes its end.
  void drop();
  bool up() const noexcept { return up_; }
  // There will be no other connection: the peer of a Given channel is gone, or a Dialer was refused.
  bool finished() const noexcept { return ended_; }

 private:
  static constexpr std::size_t kReadSize = 64 * 1024;
  // A short command starts and ends within it, and is then one write, one packet and one interrupt for the host.
  static constexpr int kCompanyMs = 10;

  void accept_connection();
  base::Status watch();
  bool dialled();
  void dial();
  void pump(std::uint32_t events = 0);
  void read_input();
  void read_sparing();
  void flush();
  void go_up();
  void go_down();
  bool port_has_host() const;
  bool is_vsock() const noexcept { return kind_ == Kind::Dialer || kind_ == Kind::Listener; }

  Loop& loop_;
  ChannelEvents& events_;
  Kind kind_ = Kind::Given;
  std::uint32_t port_ = 0;
  std::uint32_t source_port_ = 0;  // of a Dialer's last connection
  base::UniqueFd listener_;
  base::UniqueFd fd_;
  bool up_ = false;
  bool ignoring_ = false;  // after drop() on a port
  bool ended_ = false;
  bool was_congested_ = false;
  bool flush_deferred_ = false;
  bool blocked_ = false;    // the host takes no more: the watch tells when it does
  bool hung_up_ = false;    // the host has ended its side
  std::size_t spared_ = 0;  // bytes at the front of the socket that were handed out already
  std::string in_;
  std::string out_;
  std::size_t out_offset_ = 0;
};

// Waits until the port of this name is there, at most `timeout_ms`, and opens it. `uevents` from open_uevents().
base::Result<base::UniqueFd> open_virtio_port(int uevents, std::string_view name, int timeout_ms);
// A vsock listener for the host's connections.
base::Result<base::UniqueFd> listen_vsock(std::uint32_t port);
// A non-blocking socket on its way to the host's port; writable once the host has answered, which may take it a week.
// It comes from a reserved port, another one than `last_source`.
base::Result<base::UniqueFd> dial_vsock(std::uint32_t port, std::uint32_t last_source = 0);

}  // namespace sandforge::agent
