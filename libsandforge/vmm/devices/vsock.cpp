// SPDX-License-Identifier: Apache-2.0
#include "vmm/devices/vsock.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "base/limits.hpp"
#include "vmm/devices/config_space.hpp"
#include "vmm/devices/transfer.hpp"

namespace sandforge::vmm {
namespace {

// SPEC: virtio 1.2, 5.10.6.
constexpr std::uint16_t kStreamType = 1;
constexpr std::uint16_t kRequest = 1, kResponse = 2, kReset = 3, kShutdown = 4, kReadWrite = 5, kCreditUpdate = 6,
                        kCreditRequest = 7;
constexpr std::uint32_t kNoMoreReceive = 1, kNoMoreSend = 2;
constexpr std::uint64_t kHostCid = 2;
constexpr std::size_t kToGuest = 0, kFromGuest = 1;

// Linux fills the whole receive queue with buffers of 4 KiB when it starts: a quarter of a MiB, not one.
constexpr std::uint16_t kReceiveEntries = 64;
constexpr std::uint32_t kWindow = limits::kVsockWindow;
constexpr std::size_t kStreamsMax = limits::kVsockStreamsMax;
constexpr std::size_t kControlMax = limits::kVsockAnswersMax;
constexpr std::uint32_t kPayloadMax = limits::kVsockPayloadMax;
constexpr int kTurn = limits::kVsockTurnPackets;

struct [[gnu::packed]] Config {
  std::uint64_t guest_cid;
};

base::Error broken(const char* what) {
  return base::make_error(base::Code::Corrupt, "bad_packet", std::string("virtio-vsock: ") + what);
}

}  // namespace

std::uint32_t Vsock::Stream::credit() const noexcept {
  const std::uint32_t under_way = sent - peer_forwarded;
  return under_way < peer_buffer ? peer_buffer - under_way : 0;
}

std::uint16_t Vsock::queue_size_max(std::size_t queue) const {
  return queue == kFromGuest ? kQueueSizeMax : kReceiveEntries;
}

void Vsock::read_config(std::uint32_t offset, std::span<std::byte> out) const {
  copy_config(Config{options_.guest_cid}, offset, out);
}

base::Status Vsock::activate(Activation activation) {
  active_ = std::move(activation);
  return {};
}

void Vsock::reset() {
  while (!streams_.empty()) drop(streams_.begin());
  watch_listener();
  control_.clear();
  buffer_.reset();
  active_.reset();
  out_of_buffers_ = held_back_ = false;
  taken_descriptors_ = 0;
}

base::Status Vsock::kick(std::size_t queue) {
  if (queue == kToGuest) out_of_buffers_ = false;
  if (queue == kFromGuest) SANDFORGE_TRY_STATUS(from_guest());
  return settle();
}

// After anything happened: fill the guest's buffers, go on with what was held back, tell the driver, watch anew.
base::Status Vsock::settle() {
  SANDFORGE_TRY_STATUS(to_guest());
  if (held_back_ && control_.size() < kControlMax) {
    SANDFORGE_TRY_STATUS(from_guest());
    SANDFORGE_TRY_STATUS(to_guest());
  }
  // The guest has buffers left, so it may have no reason to kick: go on with the next turn.
  if (held_back_ && control_.size() < kControlMax) active_->interrupt->kick_again(kFromGuest);
  SANDFORGE_TRY_STATUS(tell_driver());
  for (auto& [port, stream] : streams_) update_watch(port, stream);
  watch_listener();
  return {};
}

// That its packets were taken is news a driver can wait for, as long as it has descriptors left: it comes with the next
// packet for the guest, or when a quarter of the descriptors are back. So a packet each way is one interrupt, not two.
base::Status Vsock::tell_driver() {
  SANDFORGE_TRY(bool interrupt, active_->queues[kToGuest].needs_interrupt());
  if (interrupt || taken_descriptors_ >= active_->queues[kFromGuest].size() / 4) {
    taken_descriptors_ = 0;
    SANDFORGE_TRY(const bool wanted, active_->queues[kFromGuest].needs_interrupt());
    interrupt = interrupt || wanted;
  }
  if (interrupt) active_->interrupt->queues_used();
  return {};
}

// ---- from the guest -------------------------------------------------------------------------------------------------

base::Status Vsock::from_guest() {
  Queue& queue = active_->queues[kFromGuest];
  held_back_ = false;
  for (int served = 0; served < kTurn; ++served) {
    if (control_.size() >= kControlMax) {
      held_back_ = true;  // the guest must first make room for our answers
      return {};
    }
    SANDFORGE_TRY(const std::optional<Chain> chain, queue.pop_or_ask());
    if (!chain) return {};
    SANDFORGE_TRY_STATUS(take(*chain));
    SANDFORGE_TRY_STATUS(queue.push(chain->head, 0));
    taken_descriptors_ += chain->readable.size() + chain->writable.size();
  }
  active_->interrupt->kick_again(kFromGuest);
  return {};
}

base::Status Vsock::take(const Chain& chain) {
  Header header;
  static_assert(sizeof(Header) == 44);
  if (!gather(*active_->memory, chain.readable, std::as_writable_bytes(std::span(&header, 1)))) {
    return broken("a packet without a whole header");
  }
  if (header.length > kPayloadMax || header.length > chain.readable_bytes() - sizeof header) {
    return broken("a packet with less payload than it says, or too much");
  }
  return handle(header, chain);
}

base::Status Vsock::handle(const Header& header, const Chain& chain) {
  // 5.10.6.6: what is not for a stream that exists is answered by a reset, but never a reset by one.
  const bool ours = header.source_cid == options_.guest_cid && header.target_cid == kHostCid &&
                    header.target_port == options_.host_port && header.type == kStreamType;
  if (!ours) {
    // Addressed back to where it came from, whatever its type. A packet from another CID than the guest's own is not
    // answered.
    if (header.operation != kReset && header.source_cid == options_.guest_cid) {
      Header answer = header_for(header.source_port, kReset);
      answer.type = header.type;
      answer.source_cid = header.target_cid;
      answer.source_port = header.target_port;
      control_.push_back(answer);
    }
    return {};
  }
  if (header.operation == kRequest) {
    open_stream(header);
    return {};
  }
  const auto at = streams_.find(header.source_port);
  if (at == streams_.end() || !at->second.host) {
    if (header.operation != kReset) tell(header.source_port, kReset);
    if (at != streams_.end()) drop(at);  // or a connection of the host would be joined with what the guest gave up
    return {};
  }
  Stream& stream = at->second;
  stream.peer_buffer = header.buffer_bytes;
  stream.peer_forwarded = header.forwarded;
  switch (header.operation) {
    case kReadWrite:
      if (deliver(stream, header, chain)) break;
      tell(header.source_port, kReset);
      drop(at);
      break;
    case kCreditRequest: tell(header.source_port, kCreditUpdate); break;
    case kCreditUpdate: break;
    case kShutdown: guest_shuts_down(at, header.flags); break;
    case kReset: drop(at); break;
    default:
      tell(header.source_port, kReset);
      drop(at);
      break;
  }
  return {};
}

void Vsock::open_stream(const Header& header) {
  if (const auto old = streams_.find(header.source_port); old != streams_.end()) drop(old);
  if (header.source_port >= options_.guest_ports || streams_.size() >= kStreamsMax)
    return tell(header.source_port, kReset);
  Stream& stream = streams_[header.source_port];
  stream.peer_buffer = header.buffer_bytes;
  stream.peer_forwarded = header.forwarded;
  accept_host();
}

// False: the guest broke its credit, or the host's end is gone.
bool Vsock::deliver(Stream& stream, const Header& header, const Chain& chain) {
  if (!stream.guest_sends || header.length > kWindow - (stream.received - stream.forwarded)) return false;
  stream.received += header.length;
  if (header.length == 0) return true;
  const std::uint64_t surplus = chain.readable_bytes() - sizeof header - header.length;
  std::vector<iovec> parts = io_ranges(*active_->memory, chain.readable, sizeof header, surplus);
  std::size_t taken = 0;
  if (stream.kept.empty()) {
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    const ssize_t n = ::sendmsg(stream.host.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && errno != EINTR) return false;
    taken = n > 0 ? static_cast<std::size_t>(n) : 0;
    stream.forwarded += static_cast<std::uint32_t>(taken);
  }
  const std::size_t rest = header.length - taken;
  if (rest > 0) {
    std::string copy(sizeof header + header.length, '\0');
    if (!gather(*active_->memory, chain.readable, std::as_writable_bytes(std::span(copy)))) return false;
    stream.kept.append(copy, sizeof header + taken);
  }
  return true;
}

void Vsock::guest_shuts_down(Streams::iterator at, std::uint32_t flags) {
  Stream& stream = at->second;
  if ((flags & kNoMoreReceive) != 0) stream.guest_receives = false;
  if ((flags & kNoMoreSend) != 0) stream.guest_sends = false;
  if (stream.host && !stream.guest_sends && stream.kept.empty()) ::shutdown(stream.host.get(), SHUT_WR);
  if (stream.guest_sends || stream.guest_receives || !stream.kept.empty()) return;
  tell(at->first, kReset);
  drop(at);
}

// ---- to the guest ---------------------------------------------------------------------------------------------------

Vsock::Header Vsock::header_for(std::uint32_t guest_port, std::uint16_t operation) {
  Header header{};
  header.source_cid = kHostCid;
  header.target_cid = options_.guest_cid;
  header.source_port = options_.host_port;
  header.target_port = guest_port;
  header.type = kStreamType;
  header.operation = operation;
  header.buffer_bytes = kWindow;
  if (const auto at = streams_.find(guest_port); at != streams_.end()) {
    header.forwarded = at->second.forwarded_told = at->second.forwarded;
  }
  return header;
}

void Vsock::tell(std::uint32_t guest_port, std::uint16_t operation, std::uint32_t flags) {
  Header header = header_for(guest_port, operation);
  header.flags = flags;
  control_.push_back(header);
}

// Puts a buffer of the guest into buffer_; false when it has none.
base::Result<bool> Vsock::next_buffer() {
  if (buffer_) return true;
  SANDFORGE_TRY(buffer_, active_->queues[kToGuest].pop_or_ask());
  if (buffer_ && buffer_->writable_bytes() < sizeof(Header)) return broken("a buffer smaller than a header");
  if (!buffer_) out_of_buffers_ = true;
  return buffer_.has_value();
}

// Completes buffer_: the header now, `payload` bytes lie behind it already.
base::Status Vsock::give(const Header& header, std::uint32_t payload) {
  if (!scatter(*active_->memory, buffer_->writable, std::as_bytes(std::span(&header, 1)))) {
    return broken("an unwritable buffer");
  }
  const std::uint16_t head = buffer_->head;
  buffer_.reset();
  return active_->queues[kToGuest].push(head, static_cast<std::uint32_t>(sizeof header) + payload);
}

base::Status Vsock::to_guest() {
  int turn = kTurn;
  for (auto at = streams_.begin(); at != streams_.end(); ++at) {
    // The guest hears of freed room before it runs out: at half, so that a packet for it is rare. Linux has no more
    // under way than its own buffer is large, whatever our window.
    const Stream& stream = at->second;
    const std::uint32_t freed = stream.forwarded - stream.forwarded_told;
    const bool much = freed > 0 && freed >= std::min(kWindow, stream.peer_buffer) / 2;
    if (stream.host && much && control_.size() < kControlMax) tell(at->first, kCreditUpdate);
  }
  SANDFORGE_TRY(const bool room, give_answers());
  if (!room) return {};
  // One packet a stream, round after round, going on behind the one that was served last: where buffers are few, no
  // stream waits for the end of another's flood.
  for (bool more = true; more && turn > 0;) {
    more = false;
    std::uint32_t port = last_served_;
    for (std::size_t left = streams_.size(); left > 0 && !streams_.empty(); --left) {
      auto at = streams_.upper_bound(port);
      if (at == streams_.end()) at = streams_.begin();
      port = at->first;
      if (!at->second.readable || turn-- <= 0) continue;
      SANDFORGE_TRY(const bool served, read_host(at));  // may drop the stream
      if (served) last_served_ = port;
      more = more || served;
    }
  }
  // A turn that ended early goes on with the next event: the sockets are still readable.
  SANDFORGE_TRY([[maybe_unused]] const bool all, give_answers());
  return {};
}

base::Result<bool> Vsock::give_answers() {
  while (!control_.empty()) {
    SANDFORGE_TRY(const bool buffer, next_buffer());
    if (!buffer) return false;
    SANDFORGE_TRY_STATUS(give(control_.front(), 0));
    control_.pop_front();
  }
  return true;
}

// One packet of what the host sent; false when there is no more for now (or no room, or no stream any more).
base::Result<bool> Vsock::read_host(Streams::iterator at) {
  Stream& stream = at->second;
  const std::uint32_t credit = std::min(stream.credit(), kPayloadMax);
  if (!stream.host || credit == 0 || !stream.guest_receives) return false;
  SANDFORGE_TRY(const bool buffer, next_buffer());
  if (!buffer) return false;
  const std::uint64_t room = buffer_->writable_bytes() - sizeof(Header);
  if (room == 0) return broken("a buffer without room for payload");
  const std::uint64_t surplus = room > credit ? room - credit : 0;
  std::vector<iovec> parts = io_ranges(*active_->memory, buffer_->writable, sizeof(Header), surplus);
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  const ssize_t n = ::recvmsg(stream.host.get(), &message, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
    stream.readable = false;
    return false;
  }
  if (n <= 0) {
    // The host hung up. The guest reads what it has and then its end; what it still says is answered by a reset.
    tell(at->first, kShutdown, kNoMoreReceive | kNoMoreSend);
    drop(at);
    return false;
  }
  // A short read left nothing behind; what comes later is told by the watch.
  std::size_t offered = 0;
  for (const iovec& part : parts) offered += part.iov_len;
  if (static_cast<std::size_t>(n) < offered) stream.readable = false;
  Header header = header_for(at->first, kReadWrite);
  header.length = static_cast<std::uint32_t>(n);
  stream.sent += header.length;
  SANDFORGE_TRY_STATUS(give(header, header.length));
  return true;
}

// ---- the host's side ------------------------------------------------------------------------------------------------

// Joins waiting streams with connections that are there.
void Vsock::accept_host() {
  for (auto at = streams_.begin(); at != streams_.end();) {
    const auto now = at++;
    Stream& stream = now->second;
    if (stream.host) continue;
    stream.host.reset(::accept4(options_.listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!stream.host && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)) return;
    if (stream.host) {
      stream.readable = true;
      tell(now->first, kResponse);
    } else {
      // There is no descriptor to be had. To wait on would be to be woken for ever: the connection stays where it is.
      tell(now->first, kReset);
      streams_.erase(now);
    }
  }
}

void Vsock::watch_listener() {
  const auto waits = [](const auto& entry) { return !entry.second.host; };
  const bool wanted = std::any_of(streams_.begin(), streams_.end(), waits);
  if (wanted == listener_watched_) return;
  const int fd = options_.listener.get();
  if (wanted) {
    const base::Status added = watcher_.add(fd, EPOLLIN, [this](std::uint32_t) {
      accept_host();
      run(&Vsock::settle);
    });
    listener_watched_ = static_cast<bool>(added);
  } else {
    watcher_.remove(fd);
    listener_watched_ = false;
  }
}

void Vsock::on_host(std::uint32_t guest_port, std::uint32_t events) {
  const auto at = streams_.find(guest_port);
  if (at == streams_.end()) return;
  Stream& stream = at->second;
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) stream.readable = true;
  if (!stream.kept.empty() && !flush(stream)) {
    tell(guest_port, kReset);
    drop(at);
  } else if (!stream.guest_sends && stream.kept.empty()) {
    guest_shuts_down(at, 0);
  }
  run(&Vsock::settle);
}

// False when the host's end is gone.
bool Vsock::flush(Stream& stream) {
  iovec part{stream.kept.data(), stream.kept.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  const ssize_t n = ::sendmsg(stream.host.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  stream.kept.erase(0, static_cast<std::size_t>(n));
  if (stream.kept.empty()) stream.kept.shrink_to_fit();  // a stall of once costs nothing later
  stream.forwarded += static_cast<std::uint32_t>(n);
  return true;
}

// A descriptor whose events nobody can act on is taken out: its hang-up would be told again and again.
void Vsock::update_watch(std::uint32_t guest_port, Stream& stream) {
  if (!stream.host) return;
  const bool reads = stream.guest_receives && stream.credit() > 0 && !out_of_buffers_;
  if (!reads) stream.readable = true;  // nobody tells meanwhile: look when there is room again
  std::uint32_t events = 0;
  if (reads) events |= EPOLLIN;
  if (!stream.kept.empty()) events |= EPOLLOUT;
  if (events == stream.watched) return;
  const int fd = stream.host.get();
  base::Status status;
  if (events == 0) {
    watcher_.remove(fd);
  } else if (stream.watched != 0) {
    status = watcher_.modify(fd, events);
  } else {
    status = watcher_.add(fd, events, [this, guest_port](std::uint32_t told) { on_host(guest_port, told); });
  }
  if (status) stream.watched = events;
}

void Vsock::drop(Streams::iterator at) {
  if (at->second.watched != 0) watcher_.remove(at->second.host.get());
  streams_.erase(at);
}

// For events that come past the transport: a driver that breaks the rules is told of by a kick that finds it broken.
void Vsock::run(base::Status (Vsock::*work)()) {
  if (!active_) return;
  if (!(this->*work)()) active_->interrupt->failed();
}

}  // namespace sandforge::vmm
