// SPDX-License-Identifier: Apache-2.0
// virtio-vsock (virtio 1.2, section 5.10): streams from the guest to one port of the host, joined with the connections
// that the host makes to a listening socket. The guest connects, so that it is known to be ready when a stream opens.
//
//   queues    0: to the guest   1: from the guest   2: events (never used)        type 19
//   config    guest_cid
//
//   guest: REQUEST --> waiting --- a host connection is accepted: RESPONSE --> open --- either side ends --> gone
//
// Bytes go between the socket and guest memory by one copy of the kernel's; only what the host does not take at once is
// kept here, at most kWindow bytes a stream.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>

#include "base/unique_fd.hpp"
#include "vmm/devices/watcher.hpp"
#include "vmm/virtio/device.hpp"

namespace sandforge::vmm {

struct VsockOptions {
  base::UniqueFd listener;      // listening stream socket; becomes non-blocking
  std::uint32_t host_port = 0;  // the only one that answers
  std::uint64_t guest_cid = 3;  // 0, 1 and 2 are taken (5.10.4)
  // Only from below this port of the guest's. Linux lets privileged processes alone use those below 1024.
  std::uint64_t guest_ports = std::uint64_t{1} << 32;
};

class Vsock final : public Device {
 public:
  // `watcher` outlives the device.
  Vsock(VsockOptions options, Watcher& watcher) : options_(std::move(options)), watcher_(watcher) {}
  ~Vsock() override { Vsock::reset(); }

  DeviceType type() const override { return DeviceType::Vsock; }
  std::uint64_t features() const override { return 0; }
  std::size_t queue_count() const override { return 3; }
  std::uint16_t queue_size_max(std::size_t queue) const override;
  void read_config(std::uint32_t offset, std::span<std::byte> out) const override;
  void write_config(std::uint32_t, std::span<const std::byte>) override {}
  base::Status activate(Activation activation) override;
  base::Status kick(std::size_t queue) override;
  void reset() override;

 private:
  struct Header {  // 5.10.6, little-endian
    std::uint64_t source_cid, target_cid;
    std::uint32_t source_port, target_port;
    std::uint32_t length;
    std::uint16_t type, operation;
    std::uint32_t flags;
    std::uint32_t buffer_bytes, forwarded;
  } __attribute__((packed));

  struct Stream {
    base::UniqueFd host;               // empty while waiting for a host connection
    std::string kept;                  // from the guest, not yet taken by the host
    std::uint32_t received = 0;        // bytes from the guest, modulo 2^32 as the protocol counts
    std::uint32_t forwarded = 0;       // of these, taken by the host
    std::uint32_t forwarded_told = 0;  // what the guest last heard of that
    std::uint32_t sent = 0;            // bytes to the guest
    std::uint32_t peer_buffer = 0;     // the guest's receive buffer
    std::uint32_t peer_forwarded = 0;  // what it took out of it
    std::uint32_t watched = 0;         // events that the watcher has for `host`
    bool readable = false;             // the host may have sent something
    bool guest_sends = true, guest_receives = true;

    std::uint32_t credit() const noexcept;
  };
  using Streams = std::map<std::uint32_t, Stream>;  // by the guest's port

  base::Status from_guest();
  base::Status take(const Chain& chain);
  base::Status handle(const Header& header, const Chain& chain);
  void open_stream(const Header& header);
  bool deliver(Stream& stream, const Header& header, const Chain& chain);
  void guest_shuts_down(Streams::iterator at, std::uint32_t flags);

  base::Status to_guest();
  // Answers that wait for room. False: there are no buffers for all of them.
  base::Result<bool> give_answers();
  base::Result<bool> next_buffer();
  base::Result<bool> read_host(Streams::iterator at);
  base::Status give(const Header& header, std::uint32_t payload);
  Header header_for(std::uint32_t guest_port, std::uint16_t operation);
  void tell(std::uint32_t guest_port, std::uint16_t operation, std::uint32_t flags = 0);

  void accept_host();
  void watch_listener();
  void on_host(std::uint32_t guest_port, std::uint32_t events);
  bool flush(Stream& stream);
  void update_watch(std::uint32_t guest_port, Stream& stream);
  void drop(Streams::iterator at);
  base::Status settle();
  base::Status tell_driver();
  void run(base::Status (Vsock::*work)());

  VsockOptions options_;
  Watcher& watcher_;
  std::optional<Activation> active_;
  Streams streams_;
  std::deque<Header> control_;   // packets without payload that wait for a buffer of the guest
  std::optional<Chain> buffer_;  // of the guest, taken out of its queue and not yet used
  bool out_of_buffers_ = false;
  std::size_t taken_descriptors_ = 0;  // of the guest's packets, since its driver was last told
  bool held_back_ = false;             // from_guest stopped because control_ is full
  bool listener_watched_ = false;
  std::uint32_t last_served_ = 0;  // the guest's port whose host was read last
};

}  // namespace sandforge::vmm
