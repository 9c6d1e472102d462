// SPDX-License-Identifier: Apache-2.0
#include "vmm/devices/fs.hpp"

#include <linux/fuse.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/limits.hpp"
#include "vmm/devices/config_space.hpp"
#include "vmm/devices/transfer.hpp"

namespace sandforge::vmm {
namespace {

constexpr std::size_t kHighPriority = 0, kRequests = 1;

struct [[gnu::packed]] Config {  // SPEC: virtio 1.2, 5.11.4
  char tag[36];
  std::uint32_t num_request_queues;
};

base::Error broken(const char* what) {
  return base::make_error(base::Code::Corrupt, "bad_request", std::string("virtio-fs: ") + what);
}

// The server says nothing to these.
bool is_answered(std::uint32_t opcode) {
  return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET && opcode != FUSE_INTERRUPT;
}

// For what the server still expects of a request that is gone. Whatever it reads: nobody waits for the answer.
constexpr std::array<std::byte, 4096> kPadding{};

}  // namespace

void Fs::read_config(std::uint32_t offset, std::span<std::byte> out) const {
  Config config{};
  options_.tag.copy(config.tag, sizeof config.tag);
  config.num_request_queues = 1;
  copy_config(config, offset, out);
}

base::Status Fs::activate(Activation activation) {
  active_ = std::move(activation);
  watch();
  return {};
}

// The server cannot be told: what it is about to answer is dropped when it comes, and what it was promised is sent.
void Fs::reset() {
  waiting_.clear();
  if (outgoing_) padding_ = outgoing_->sent > 0 ? outgoing_->bytes - outgoing_->sent : 0;
  outgoing_.reset();
  incoming_.request.reset();
  active_.reset();
  watch();
}

base::Status Fs::kick(std::size_t queue) {
  SANDFORGE_TRY_STATUS(take(queue));
  return settle();
}

base::Status Fs::settle() {
  bool interrupt = false;
  for (Queue& queue : active_->queues) {
    SANDFORGE_TRY(const bool wanted, queue.needs_interrupt());
    interrupt = interrupt || wanted;
  }
  if (interrupt) active_->interrupt->queues_used();
  watch();
  return {};
}

// ---- to the server --------------------------------------------------------------------------------------------------

base::Status Fs::take(std::size_t index) {
  for (std::uint32_t turns = 0; turns < kQueueSizeMax; ++turns) {
    if (outgoing_ || padding_ > 0) return {};  // goes on when the server has taken that
    SANDFORGE_TRY(std::optional<Chain> chain, active_->queues[index].pop_or_ask());
    if (!chain) return {};
    SANDFORGE_TRY_STATUS(begin(std::move(*chain), index));
  }
  active_->interrupt->kick_again(index);
  return {};
}

base::Status Fs::take_all() {
  SANDFORGE_TRY_STATUS(take(kHighPriority));
  return take(kRequests);
}

base::Status Fs::begin(Chain chain, std::size_t queue) {
  fuse_in_header head;
  static_assert(sizeof head == kRequestHead && sizeof(fuse_out_header) == kAnswerHead);
  if (!gather(*active_->memory, chain.readable, std::as_writable_bytes(std::span(&head, 1)))) {
    return broken("a request without a whole header");
  }
  if (head.len != chain.readable_bytes() || head.len > limits::kFsdMessageBytesMax) {
    return broken("a request that is not as long as it says, or too long");
  }
  Outgoing outgoing;
  outgoing.request.answered = is_answered(head.opcode);
  if (outgoing.request.answered && chain.writable_bytes() < kAnswerHead) return broken("no room for an answer");
  // A driver that uses descriptors again before they were given back.
  if (waiting_.size() >= std::size_t{2} * kQueueSizeMax) return broken("more requests than the queues hold");
  outgoing.request.queue = queue;
  outgoing.request.unique = head.unique;
  outgoing.request.chain = std::move(chain);
  // An interruption names a request by the guest's number, which the server does not know; a server may ignore it.
  if (!options_.server || head.opcode == FUSE_INTERRUPT) return refuse(outgoing.request);
  outgoing.number = head.unique = next_number_;
  next_number_ += 2;
  outgoing.bytes = head.len;
  std::memcpy(outgoing.head.data(), &head, sizeof head);
  outgoing_ = std::move(outgoing);
  return send();
}

// What is left of the padding or of the request; as much as the server takes.
base::Status Fs::send() {
  while (options_.server && (padding_ > 0 || outgoing_)) {
    std::vector<iovec> parts;
    const auto part_of = [&](std::span<const std::byte> bytes) {
      // SAFETY: sendmsg does not write to what an iovec names.
      parts.push_back({const_cast<std::byte*>(bytes.data()), bytes.size()});
    };
    if (padding_ > 0) {
      part_of(std::span(kPadding).first(std::min<std::uint64_t>(padding_, kPadding.size())));
    } else {
      const Outgoing& now = *outgoing_;
      if (now.sent < kRequestHead) part_of(std::span(now.head).subspan(now.sent));
      const std::vector<iovec> rest =
          io_ranges(*active_->memory, now.request.chain.readable, std::max<std::uint64_t>(now.sent, kRequestHead), 0);
      parts.insert(parts.end(), rest.begin(), rest.end());
    }
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    const ssize_t n = ::sendmsg(options_.server.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return {};
    if (n < 0) return lose_server();
    const auto count = static_cast<std::uint64_t>(n);
    if (padding_ > 0) {
      padding_ -= count;
    } else if ((outgoing_->sent += count) == outgoing_->bytes) {
      SANDFORGE_TRY_STATUS(sent());
    }
  }
  return {};
}

base::Status Fs::sent() {
  Outgoing done = std::move(*outgoing_);
  outgoing_.reset();
  if (!done.request.answered) return finish(done.request, 0);
  waiting_.emplace(done.number, std::move(done.request));
  return {};
}

// ---- from the server ------------------------------------------------------------------------------------------------

base::Status Fs::receive() {
  // A server that never stops answering has the other devices wait for a turn's worth at most.
  for (std::uint64_t cost = 0; cost < limits::kFsTurnBytes && options_.server;) {
    SANDFORGE_TRY(const bool head, receive_head());
    if (!head) return {};
    cost += kAnswerHead + incoming_.bytes;
    SANDFORGE_TRY(const bool body, receive_body());
    if (!body) return {};
    const std::optional<Request> request = std::move(incoming_.request);
    const auto written = static_cast<std::uint32_t>(kAnswerHead + incoming_.bytes);
    if (request) {
      std::memcpy(incoming_.head.data() + offsetof(fuse_out_header, unique), &request->unique, sizeof request->unique);
      if (!scatter(*active_->memory, request->chain.writable, incoming_.head)) return broken("an unwritable buffer");
      SANDFORGE_TRY_STATUS(finish(*request, written));
    }
    incoming_ = {};
  }
  return {};
}

// How many bytes came; 0: none for now, or the server is lost.
base::Result<std::uint64_t> Fs::receive_into(std::vector<iovec> parts) {
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  ssize_t n = 0;
  do {
    n = ::recvmsg(options_.server.get(), &message, MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n > 0) return static_cast<std::uint64_t>(n);
  if (n == 0 || errno != EAGAIN) SANDFORGE_TRY_STATUS(lose_server());
  return std::uint64_t{0};
}

// False: not all of it is there yet, or the server is lost.
base::Result<bool> Fs::receive_head() {
  while (incoming_.head_bytes < kAnswerHead) {
    const std::span<std::byte> rest = std::span(incoming_.head).subspan(incoming_.head_bytes);
    SANDFORGE_TRY(const std::uint64_t count, receive_into({{rest.data(), rest.size()}}));
    if (count == 0) return false;
    incoming_.head_bytes += count;
    if (incoming_.head_bytes < kAnswerHead) continue;
    fuse_out_header head;
    std::memcpy(&head, incoming_.head.data(), sizeof head);
    const auto at = waiting_.find(head.unique);
    if (head.len < kAnswerHead || head.len > limits::kFsdMessageBytesMax ||
        (at != waiting_.end() && head.len > at->second.chain.writable_bytes())) {
      SANDFORGE_TRY_STATUS(lose_server());
      return false;
    }
    incoming_.bytes = head.len - kAnswerHead;
    if (at == waiting_.end()) continue;
    incoming_.request = std::move(at->second);
    waiting_.erase(at);
  }
  return true;
}

base::Result<bool> Fs::receive_body() {
  std::array<std::byte, 4096> dropped;
  while (incoming_.received < incoming_.bytes) {
    const std::uint64_t left = incoming_.bytes - incoming_.received;
    std::vector<iovec> parts{{dropped.data(), std::min<std::uint64_t>(left, dropped.size())}};
    if (incoming_.request) {
      const std::vector<Buffer>& into = incoming_.request->chain.writable;
      const std::uint64_t end = kAnswerHead + incoming_.bytes;
      parts = io_ranges(*active_->memory, into, kAnswerHead + incoming_.received,
                        incoming_.request->chain.writable_bytes() - end);
    }
    SANDFORGE_TRY(const std::uint64_t count, receive_into(std::move(parts)));
    if (count == 0) return false;
    incoming_.received += count;
  }
  return true;
}

// ---- answers --------------------------------------------------------------------------------------------------------

base::Status Fs::finish(const Request& request, std::uint32_t written) {
  return active_->queues[request.queue].push(request.chain.head, written);
}

base::Status Fs::refuse(const Request& request) {
  if (!request.answered) return finish(request, 0);
  const fuse_out_header answer{kAnswerHead, -EIO, request.unique};
  if (!scatter(*active_->memory, request.chain.writable, std::as_bytes(std::span(&answer, 1)))) {
    return broken("an unwritable buffer");
  }
  return finish(request, kAnswerHead);
}

// No task of the guest waits for a server that is gone: one that waits in FUSE does not even hear a SIGKILL.
base::Status Fs::lose_server() {
  if (watched_ != 0) watcher_.remove(options_.server.get());
  watched_ = 0;
  options_.server.reset();
  padding_ = 0;
  std::vector<Request> lost;
  for (auto& [number, request] : waiting_) lost.push_back(std::move(request));
  if (outgoing_) lost.push_back(std::move(outgoing_->request));
  if (incoming_.request) lost.push_back(std::move(*incoming_.request));
  waiting_.clear();
  outgoing_.reset();
  incoming_ = {};
  for (const Request& request : lost) SANDFORGE_TRY_STATUS(refuse(request));
  return take_all();
}

// ---- events ---------------------------------------------------------------------------------------------------------

void Fs::on_server(std::uint32_t events) {
  if (!active_) return;
  const auto work = [&]() -> base::Status {
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) SANDFORGE_TRY_STATUS(receive());
    if ((events & EPOLLOUT) != 0) SANDFORGE_TRY_STATUS(send());
    // What was held back while the socket was full.
    if ((events & EPOLLOUT) != 0) SANDFORGE_TRY_STATUS(take_all());
    return settle();
  };
  if (!work()) active_->interrupt->failed();
}

void Fs::watch() {
  std::uint32_t events = 0;
  if (active_ && options_.server) events = EPOLLIN | (outgoing_ || padding_ > 0 ? EPOLLOUT : 0u);
  if (events == watched_) return;
  const int fd = options_.server.get();
  base::Status status;
  if (events == 0) {
    watcher_.remove(fd);
  } else if (watched_ != 0) {
    status = watcher_.modify(fd, events);
  } else {
    status = watcher_.add(fd, events, [this](std::uint32_t told) { on_server(told); });
  }
  if (status) watched_ = events;
}

}  // namespace sandforge::vmm
