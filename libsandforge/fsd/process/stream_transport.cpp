// SPDX-License-Identifier: Apache-2.0
// FUSE messages over a stream socket. Received straight into the memory that the parser reads and the file is written
// from, sent straight from where the file was read to: no copy of data is made here but for the head of a message that
// came at the end of the buffer.
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "base/limits.hpp"
#include "fsd/process/transport.hpp"
#include "fsd/protocol/request.hpp"

namespace sandforge::fsd {
namespace {

constexpr std::size_t kPage = 4096;
// Two of the longest: what is left of the first seldom has to move.
constexpr std::size_t kReceiveBytes = 2 * limits::kFsdMessageBytesMax;
constexpr std::size_t kReplyBytes = (limits::kFsdReplyBytesMax + kPage - 1) / kPage * kPage;
// After this long without a request the memory of the last big ones is given back.
constexpr int kIdleMs = 1000;
constexpr std::size_t kBig = 64 * limits::kKiB;

class StreamTransport final : public Transport {
 public:
  StreamTransport(base::UniqueFd socket, int wake, std::byte* memory)
      : socket_(std::move(socket)), wake_(wake), in_(memory), out_(memory + kReceiveBytes) {}
  ~StreamTransport() override { ::munmap(in_, kReceiveBytes + kReplyBytes); }

  base::Result<Received> receive() override;
  std::span<std::byte> reply_space() override { return {out_, limits::kFsdReplyBytesMax}; }
  base::Status reply(std::span<const std::byte> message) override;

 private:
  // What receive() is to return, or that it is to look at the buffer again.
  enum class Filled { More, Woken, Ended };
  base::Result<Filled> fill();
  base::Status wait(short events, bool& readable, bool& woken);

  base::UniqueFd socket_;
  int wake_;
  std::byte* in_;   // kReceiveBytes, then
  std::byte* out_;  // kReplyBytes; one mapping
  std::size_t begin_ = 0, end_ = 0;
  bool big_ = false;  // much of that memory is in use
};

base::Result<Transport::Received> StreamTransport::receive() {
  for (;;) {
    const std::span<const std::byte> waiting(in_ + begin_, end_ - begin_);
    const std::size_t length = claimed_length(waiting);
    if (length == 0 && waiting.size() >= sizeof(std::uint32_t)) {
      return base::make_error(base::Code::Corrupt, "bad_frame", "a FUSE message of an impossible length");
    }
    if (length != 0 && waiting.size() >= length) {
      begin_ += length;
      big_ = big_ || length > kBig;
      return Received{Event::Request, waiting.first(length)};
    }
    SANDFORGE_TRY(const Filled filled, fill());
    if (filled == Filled::Woken) return Received{Event::Woken, {}};
    if (filled == Filled::Ended) return Received{};
  }
}

// Waits for `events` of the socket or the wake-up; gives idle memory back once.
base::Status StreamTransport::wait(short events, bool& readable, bool& woken) {
  for (;;) {
    std::array<pollfd, 2> polled{pollfd{socket_.get(), events, 0}, pollfd{wake_, POLLIN, 0}};
    const int n = ::poll(polled.data(), events == POLLIN ? 2 : 1, big_ && begin_ == end_ ? kIdleMs : -1);
    if (n < 0 && errno != EINTR) return base::os_error("wait for requests");
    if (n == 0) {
      ::madvise(in_, kReceiveBytes + kReplyBytes, MADV_DONTNEED);
      big_ = false;
    }
    readable = n > 0 && polled[0].revents != 0;
    woken = n > 0 && polled[1].revents != 0;
    if (readable || woken) return {};
  }
}

base::Result<StreamTransport::Filled> StreamTransport::fill() {
  if (begin_ == end_) begin_ = end_ = 0;
  if (begin_ + limits::kFsdMessageBytesMax > kReceiveBytes) {
    std::memmove(in_, in_ + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  bool readable = false, woken = false;
  SANDFORGE_TRY_STATUS(wait(POLLIN, readable, woken));
  if (woken) {
    std::uint64_t count = 0;
    (void)!::read(wake_, &count, sizeof count);
    return Filled::Woken;
  }
  iovec part{in_ + end_, kReceiveBytes - end_};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  const ssize_t n = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return Filled::More;
  if (n < 0 && errno != ECONNRESET) return base::os_error("read requests");
  if (n <= 0) return Filled::Ended;
  end_ += static_cast<std::size_t>(n);
  return Filled::More;
}

base::Status StreamTransport::reply(std::span<const std::byte> message) {
  big_ = big_ || message.size() > kBig;
  while (!message.empty()) {
    // SAFETY: sendmsg only reads what it is given; iovec predates const.
    iovec part{const_cast<std::byte*>(message.data()), message.size()};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    const ssize_t n = ::sendmsg(socket_.get(), &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) {
      bool writable = false, woken = false;
      const bool was_big = std::exchange(big_, false);  // the buffer is in use: none of it may go
      SANDFORGE_TRY_STATUS(wait(POLLOUT, writable, woken));
      big_ = was_big;
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::os_error("send an answer");
    message = message.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

}  // namespace

base::Result<std::unique_ptr<Transport>> make_stream_transport(base::UniqueFd socket, int wake) {
  void* memory = ::mmap(nullptr, kReceiveBytes + kReplyBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return base::os_error("map memory for messages");
  return std::unique_ptr<Transport>(
      std::make_unique<StreamTransport>(std::move(socket), wake, static_cast<std::byte*>(memory)));
}

}  // namespace sandforge::fsd
