// SPDX-License-Identifier: Apache-2.0
#include "fsd/process/control.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "fsd/process/passed_descriptor.hpp"

namespace sandforge::fsd {

bool Control::answer(int fd, ControlKind kind, std::uint32_t id, int error) {
  ControlAnswer answer;
  answer.kind = static_cast<std::uint16_t>(kind);
  answer.id = id;
  answer.error = static_cast<std::uint32_t>(error);
  answer.mounts = static_cast<std::uint32_t>(mounts_.all().size());
  answer.inodes = counters_.inodes.load(std::memory_order_relaxed);
  answer.descriptors = counters_.descriptors.load(std::memory_order_relaxed);
  answer.handles = counters_.handles.load(std::memory_order_relaxed);
  answer.served = counters_.served.load(std::memory_order_relaxed);
  answer.busy = counters_.busy.load(std::memory_order_relaxed) ? 1 : 0;
  std::string packet = wire::encode(answer);
  iovec part{packet.data(), packet.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  return ::sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == static_cast<ssize_t>(packet.size());
}

void Control::ready() { (void)answer(owner_.get(), ControlKind::Ready, 0, 0); }

bool Control::serve(int fd, const ControlRequest& request, base::UniqueFd passed) {
  const auto kind = static_cast<ControlKind>(request.kind);
  int error = 0;
  switch (kind) {
    case ControlKind::Attach:
      error = !passed ? EBADMSG
              : (request.flags & ~kAttachReadOnly) != 0
                  ? EINVAL
                  : mounts_.attach(request.index, (request.flags & kAttachReadOnly) != 0, std::move(passed));
      break;
    case ControlKind::Detach: {
      error = mounts_.detach(request.index);
      const std::uint64_t one = 1;
      (void)!::write(wake_, &one, sizeof one);  // it lets go of what it holds, unless it is stalled
      break;
    }
    case ControlKind::Status: break;
    case ControlKind::Stop: stopped_ = true; return true;
    case ControlKind::Ready:
    default: error = ENOSYS; break;
  }
  return answer(fd, kind, request.id, error);
}

// False: the connection has ended, or is to end.
bool Control::read(base::UniqueFd& connection) {
  std::array<char, kControlRequestBytes + 1> buffer;
  PassedDescriptor rights;
  iovec part{buffer.data(), buffer.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  rights.make_room(message);
  const ssize_t n = ::recvmsg(connection.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n <= 0) return false;
  base::UniqueFd passed = PassedDescriptor::take(message);
  if ((message.msg_flags & MSG_TRUNC) != 0) return false;
  auto request = wire::decode<ControlRequest>({buffer.data(), static_cast<std::size_t>(n)});
  return request && serve(connection.get(), request.value(), std::move(passed));
}

void Control::accept() {
  base::UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (fd) successor_ = std::move(fd);
}

void Control::run() {
  while (!stopped_ && (owner_ || successor_ || listener_)) {
    std::array<pollfd, 3> polled{pollfd{owner_.get(), POLLIN, 0}, pollfd{successor_.get(), POLLIN, 0},
                                 pollfd{listener_.get(), POLLIN, 0}};
    if (::poll(polled.data(), polled.size(), -1) < 0) {
      if (errno == EINTR) continue;
      return;
    }
    if (polled[0].revents != 0 && !read(owner_)) owner_.reset();
    if (polled[1].revents != 0 && !read(successor_)) successor_.reset();
    if (polled[2].revents != 0) accept();
  }
}

}  // namespace sandforge::fsd
