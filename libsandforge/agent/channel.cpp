// SPDX-License-Identifier: Apache-2.0
#include "agent/channel.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include <utility>

#include "agent/clock.hpp"

namespace sandforge::agent {

namespace {
base::Status make_nonblocking(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) return base::os_error("fcntl");
  return {};
}

constexpr std::size_t kVsockPacket = 64 * 1024;  // what Linux cuts a write into

// While it lives, Linux's worker that hands packets of a vsock to the host does not run on this CPU: it would kick the
// host for each packet of a write, and kicks once for all that it finds at its end. Without the right to it, it does
// nothing.
class Batch {
 public:
  explicit Batch(bool wanted) noexcept {
    constexpr sched_param kAboveOthers{1};
    on_ = wanted && ::sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &kAboveOthers) == 0;
  }
  ~Batch() {
    constexpr sched_param kUsual{0};
    if (on_) ::sched_setscheduler(0, SCHED_OTHER, &kUsual);
  }
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

 private:
  bool on_ = false;
};

constexpr std::uint32_t kReservedEnd = 1024, kReservedStart = 512;

// The next one below `last` that is free, round and round. The host takes nobody else for the agent: a task without
// CAP_NET_BIND_SERVICE cannot have such a port. Never the same one twice in a row: what the host still says of the
// connection before would be taken for a refusal of the new one.
base::Status take_reserved_port(int fd, std::uint32_t last) {
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = VMADDR_CID_ANY;
  for (std::uint32_t tries = kReservedStart; tries < kReservedEnd; ++tries) {
    last = last > kReservedStart && last <= kReservedEnd ? last - 1 : kReservedEnd - 1;
    address.svm_port = last;
    if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) return {};
    if (errno != EADDRINUSE) break;
  }
  return base::os_error("bind(AF_VSOCK)");
}

std::uint32_t own_port(int fd) {
  sockaddr_vm address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return kReservedEnd;
  return address.svm_port;
}

// How much may be under way to the host is limited by this socket's own buffer too, not by the host's window alone:
// "vsock/virtio: cap TX credit to local buffer size" of Linux. Without it all works, with more packets about room.
void want_room(int fd) {
  constexpr std::uint64_t kBuffer = 1 * limits::kMiB;
  (void)::setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_MAX_SIZE, &kBuffer, sizeof kBuffer);
  (void)::setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &kBuffer, sizeof kBuffer);
}
}  // namespace

Channel::~Channel() {
  loop_.cancel_delayed();
  if (fd_) loop_.remove(fd_.get());
  if (listener_) loop_.remove(listener_.get());
}

base::Status Channel::start(Kind kind, base::UniqueFd fd, std::uint32_t port) {
  kind_ = kind;
  port_ = port;
  SANDFORGE_TRY_STATUS(make_nonblocking(fd.get()));
  in_.resize(kReadSize);
  if (kind == Kind::Listener) {
    listener_ = std::move(fd);
    return loop_.add(listener_.get(), EPOLLIN, [this](std::uint32_t) { accept_connection(); });
  }
  fd_ = std::move(fd);
  if (kind == Kind::Dialer) source_port_ = own_port(fd_.get());
  SANDFORGE_TRY_STATUS(watch());
  pump();
  return {};
}

base::Status Channel::watch() {
  return loop_.add(fd_.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                   [this](std::uint32_t events) { pump(events); });
}

// Whether the host has answered. A refusal is the end of the channel: asking again at once would spin.
bool Channel::dialled() {
  pollfd state{fd_.get(), POLLOUT, 0};
  if (::poll(&state, 1, 0) == 0) return false;
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error == 0) return true;
  loop_.remove(fd_.get());
  fd_.reset();
  if (error == ETIMEDOUT) {
    dial();
  } else {
    ended_ = true;
    events_.disconnected();
  }
  return false;
}

void Channel::dial() {
  auto fd = dial_vsock(port_, source_port_);
  ended_ = !fd;
  if (ended_) return;
  fd_ = std::move(fd).value();
  source_port_ = own_port(fd_.get());
  ended_ = !watch();
}

void Channel::accept_connection() {
  base::UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd) return;
  go_down();
  if (fd_) loop_.remove(fd_.get());
  fd_ = std::move(fd);
  if (!watch()) {
    fd_.reset();
    return;
  }
  pump();
}

bool Channel::port_has_host() const {
  pollfd state{fd_.get(), POLLIN, 0};
  return ::poll(&state, 1, 0) >= 0 && (state.revents & POLLHUP) == 0;
}

void Channel::pump(std::uint32_t events) {
  if (kind_ == Kind::Port) {
    const bool host = port_has_host();
    if (!host) {
      // What the gone host had sent is of no use to the next one.
      while (::read(fd_.get(), in_.data(), in_.size()) > 0) {
      }
      go_down();
      return;
    }
  }
  if (!fd_ || ended_) return;
  if (!up_ && kind_ == Kind::Dialer && !dialled()) return;
  if (!up_) go_up();
  hung_up_ = hung_up_ || (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
  if (hung_up_ || !is_vsock()) {
    read_input();
  } else {
    read_sparing();
  }
  if (blocked_) flush();  // else what waits for company goes on waiting
}

// Linux tells the host of new room whenever a vsock has run empty: a packet of its own for every request, with a kick
// and an answer. So the last byte that came stays in the socket until more comes.
void Channel::read_sparing() {
  while (fd_ && up_) {
    const ssize_t n = ::recv(fd_.get(), in_.data(), in_.size(), MSG_PEEK);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) return go_down();
    const std::size_t seen = std::exchange(spared_, 1);
    const auto count = static_cast<std::size_t>(n);
    // What is there is there: neither blocks nor falls short.
    if (count > 1 && ::recv(fd_.get(), in_.data(), count - 1, 0) != n - 1) return go_down();
    if (count > seen && !ignoring_) events_.received(std::string_view(in_).substr(seen, count - seen));
    if (count < in_.size()) return;
  }
}

void Channel::read_input() {
  while (fd_ && up_) {
    const ssize_t n = ::read(fd_.get(), in_.data(), in_.size());
    if (n > 0) {
      const std::size_t seen = std::exchange(spared_, 0);
      const std::string_view fresh = std::string_view(in_).substr(seen, static_cast<std::size_t>(n) - seen);
      if (!ignoring_ && !fresh.empty()) events_.received(fresh);
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    go_down();
  }
}

void Channel::go_up() {
  up_ = true;
  ignoring_ = hung_up_ = false;
  spared_ = 0;
  events_.connected();
}

void Channel::go_down() {
  if (!up_) return;
  up_ = false;
  ignoring_ = false;
  was_congested_ = false;
  out_.clear();
  out_offset_ = 0;
  if (kind_ != Kind::Port) {
    loop_.remove(fd_.get());
    fd_.reset();
    ended_ = kind_ == Kind::Given;
  }
  events_.disconnected();
  if (kind_ == Kind::Dialer) dial();
}

void Channel::drop() {
  if (kind_ == Kind::Port) {
    ignoring_ = true;
    out_.clear();
    out_offset_ = 0;
    return;
  }
  go_down();
}

void Channel::send(std::string_view bytes, Urgency urgency) {
  if (!up_ || ignoring_) return;
  const bool first = flushed();
  out_.append(bytes);
  was_congested_ = was_congested_ || congested();
  if (urgency == Urgency::Company) {
    if (first) loop_.delay(kCompanyMs, [this] { flush(); });
    return;
  }
  // Frames of one round leave in one write: each write to a port costs the guest an exit.
  if (flush_deferred_) return;
  flush_deferred_ = true;
  loop_.defer([this] {
    flush_deferred_ = false;
    flush();
  });
}

void Channel::flush() {
  loop_.cancel_delayed();
  blocked_ = false;
  const Batch batch(is_vsock() && out_.size() - out_offset_ > kVsockPacket);
  while (fd_ && up_ && !flushed()) {
    const ssize_t n = ::write(fd_.get(), out_.data() + out_offset_, out_.size() - out_offset_);
    if (n < 0 && errno == EINTR) continue;
    blocked_ = n < 0;
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) {
      // A port says so when the host closed its end; the watch tells it too.
      if (kind_ != Kind::Port) go_down();
      return;
    }
    out_offset_ += static_cast<std::size_t>(n);
  }
  if (flushed()) {
    out_.clear();
    out_offset_ = 0;
  } else if (out_offset_ > limits::kAgentBacklog) {
    out_.erase(0, out_offset_);
    out_offset_ = 0;
  }
  if (was_congested_ && out_.size() - out_offset_ <= limits::kAgentBacklog / 2) {
    was_congested_ = false;
    events_.drained();
  }
}

void Channel::flush_blocking(int timeout_ms) {
  const std::int64_t deadline = monotonic_ns() + static_cast<std::int64_t>(timeout_ms) * 1'000'000;
  flush();
  while (fd_ && up_ && !flushed()) {
    const std::int64_t left_ms = (deadline - monotonic_ns()) / 1'000'000;
    pollfd room{fd_.get(), POLLOUT, 0};
    if (left_ms <= 0 || ::poll(&room, 1, static_cast<int>(left_ms)) <= 0 || (room.revents & POLLHUP) != 0) return;
    flush();
  }
}

base::Result<base::UniqueFd> dial_vsock(std::uint32_t port, std::uint32_t last_source) {
  base::UniqueFd fd(::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return base::os_error("socket(AF_VSOCK)");
  // The host's end answers when somebody there wants to talk, however long that takes.
  constexpr timeval kPatience{7 * 24 * 3600, 0};
  if (::setsockopt(fd.get(), AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &kPatience, sizeof kPatience) != 0) {
    return base::os_error("SO_VM_SOCKETS_CONNECT_TIMEOUT");
  }
  SANDFORGE_TRY_STATUS(take_reserved_port(fd.get(), last_source));
  want_room(fd.get());
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = VMADDR_CID_HOST;
  address.svm_port = port;
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 && errno != EINPROGRESS) {
    return base::os_error("connect(AF_VSOCK)");
  }
  return fd;
}

base::Result<base::UniqueFd> listen_vsock(std::uint32_t port) {
  base::UniqueFd fd(::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return base::os_error("socket(AF_VSOCK)");
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = VMADDR_CID_ANY;
  address.svm_port = port;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return base::os_error("bind(AF_VSOCK)");
  }
  if (::listen(fd.get(), 4) != 0) return base::os_error("listen(AF_VSOCK)");
  return fd;
}

}  // namespace sandforge::agent
