// SPDX-License-Identifier: Apache-2.0
#include "vmm/monitor/control.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>

#include "base/limits.hpp"

namespace sandforge::vmm {
namespace {

// By sendmsg and recvmsg, which the device loop may call anyway.
bool send_packet(int fd, std::string_view packet) {
  iovec part{const_cast<char*>(packet.data()), packet.size()};  // SAFETY: sendmsg only reads it
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  return ::sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == static_cast<ssize_t>(packet.size());
}

}  // namespace

base::Status Control::watch_connection(base::UniqueFd& connection) {
  return watcher_->add(connection.get(), EPOLLIN, [this, &connection](std::uint32_t) { on_connection(connection); });
}

base::Status Control::watch(Watcher* watcher) {
  if (watcher_ != nullptr) {
    for (const base::UniqueFd* fd : {&owner_, &successor_}) {
      if (*fd) watcher_->remove(fd->get());
    }
    if (listening_) watcher_->remove(listener_.get());
    listening_ = false;
  }
  watcher_ = watcher;
  if (watcher == nullptr) return {};
  for (base::UniqueFd* connection : {&owner_, &successor_}) {
    if (*connection) SANDFORGE_TRY_STATUS(watch_connection(*connection));
  }
  return listen();
}

base::Status Control::listen() {
  listening_ = static_cast<bool>(listener_);
  if (!listener_) return {};
  return watcher_->add(listener_.get(), EPOLLIN, [this](std::uint32_t) { on_listener(); });
}

void Control::configured() { (void)reply(owner_.get(), ControlKind::Configure, 0, ControlResult::Ok); }

void Control::paused() {
  under_way_ = false;
  if (!pausing_) return;
  const Waiting waiting = *pausing_;
  pausing_.reset();
  for (base::UniqueFd* connection : {&owner_, &successor_}) {
    if (!*connection || connection->get() != waiting.fd) continue;
    if (!reply(waiting.fd, ControlKind::Pause, waiting.id, ControlResult::Ok)) hang_up(*connection);
    return;
  }
}

void Control::ended(Ending ending) {
  for (const base::UniqueFd* connection : {&owner_, &successor_}) {
    if (*connection) {
      (void)reply(connection->get(), ControlKind::Ended, 0, ControlResult::Ok, static_cast<std::uint64_t>(ending));
    }
  }
}

void Control::on_listener() {
  base::UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)) return;
  if (!fd) {
    // No descriptor is to be had, and who waits would be told of again and again: once a connection has closed.
    watcher_->remove(listener_.get());
    listening_ = false;
    return;
  }
  if (successor_) hang_up(successor_);
  successor_ = std::move(fd);
  if (!watch_connection(successor_)) successor_.reset();
}

void Control::on_connection(base::UniqueFd& connection) {
  std::array<char, kControlRequestBytes + 1> buffer;
  for (int i = 0; i < limits::kControlRequestsTurn && connection; ++i) {
    iovec part{buffer.data(), buffer.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    // Descriptors that come along are not taken: without room for them the kernel drops them.
    const ssize_t n = ::recvmsg(connection.get(), &message, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    const int fd = connection.get();
    if (n <= 0 || !serve(fd, std::string_view(buffer.data(), static_cast<std::size_t>(n)))) return hang_up(connection);
    if (watcher_ == nullptr) return;
  }
}

void Control::hang_up(base::UniqueFd& connection) {
  if (watcher_ != nullptr) watcher_->remove(connection.get());
  if (pausing_ && pausing_->fd == connection.get()) pausing_.reset();  // the pause goes on, nobody hears of it
  connection.reset();
  if (!listener_) actions_.stop();
  if (listener_ && !listening_ && watcher_ != nullptr && !listen()) listening_ = false;
}

bool Control::serve(int fd, std::string_view packet) {
  const auto decoded = wire::decode<ControlRequest>(packet);
  if (!decoded) return false;
  const ControlRequest& request = decoded.value();
  ControlResult result = ControlResult::Ok;
  const auto kind = static_cast<ControlKind>(request.kind);
  switch (kind) {
    case ControlKind::Status: break;
    case ControlKind::Pause: {
      if (pausing_) {
        result = ControlResult::WrongState;
        break;
      }
      pausing_ = Waiting{fd, request.id};
      if (under_way_) return true;  // begun for an owner who is gone: answered to this one
      under_way_ = true;
      if (actions_.pause()) paused();
      return true;
    }
    case ControlKind::Resume:
      // A pause that is not complete yet is over before it began.
      actions_.resume();
      paused();
      break;
    case ControlKind::BalloonTarget:
      if (!actions_.set_balloon(request.value)) result = ControlResult::BadValue;
      break;
    case ControlKind::Stop: actions_.stop(); break;
    case ControlKind::Configure:
    case ControlKind::Ended:
    default: result = ControlResult::Unknown; break;
  }
  return reply(fd, kind, request.id, result);
}

bool Control::reply(int fd, ControlKind kind, std::uint32_t id, ControlResult result, std::uint64_t value) {
  ControlAnswer answer;
  answer.kind = static_cast<std::uint16_t>(kind);
  answer.id = id;
  answer.result = static_cast<std::uint16_t>(result);
  answer.value = value;
  actions_.describe(answer);
  return send_packet(fd, wire::encode(answer));
}

}  // namespace sandforge::vmm
