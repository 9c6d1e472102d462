// SPDX-License-Identifier: Apache-2.0
#include "agent/pumps.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>

namespace sandforge::agent {

namespace {
// Pieces read in a row before other descriptors get their turn.
constexpr int kPiecesInARow = 4;
// Credit goes back in quarters of the window: the sender never runs dry, and small writes cost no frame each.
constexpr std::uint32_t kCreditStep = limits::kStreamWindow / 4;
// Of one frame: with its header it fills one packet of a vsock.
constexpr std::size_t kPiece = limits::kFramePayloadMax - limits::kFrameHeader;
}  // namespace

void Source::hold(base::UniqueFd fd, Cut cut) {
  fd_ = std::move(fd);
  cut_ = cut;
}

void Source::run(std::function<void()> ended) {
  running_ = true;
  ended_ = std::move(ended);
  watch(allowance() > 0);
}

// Bytes that may be read now. A packet is read only when the largest one fits, since it cannot be put back.
std::size_t Source::allowance() const noexcept {
  if (stream_.congested()) return 0;
  if (cut_ == Cut::Packets) return window_ >= limits::kFramePayloadMax ? limits::kFramePayloadMax : 0;
  return static_cast<std::size_t>(std::min<std::uint64_t>(window_, kPiece));
}

void Source::credit(std::uint32_t bytes) {
  window_ += bytes;
  pump();
}

void Source::finish() {
  finishing_ = true;
  pump();
}

void Source::close() {
  watch(false);
  fd_.reset();
  ended_ = nullptr;
}

void Source::watch(bool wanted) {
  if (!fd_ || wanted == watched_) return;
  // Out of the set altogether when it is not wanted: a hung-up pipe would be reported whatever the mask says.
  if (wanted) {
    if (!loop_.add(fd_.get(), EPOLLIN, [this](std::uint32_t) { pump(); })) return at_end();
  } else {
    loop_.remove(fd_.get());
  }
  watched_ = wanted;
}

void Source::pump() {
  static_assert(limits::kFramePayloadMax <= 64 * limits::kKiB);
  char buffer[limits::kFramePayloadMax];
  for (int piece = 0; running_ && fd_ && (finishing_ || piece < kPiecesInARow); ++piece) {
    const std::size_t wanted = allowance();
    if (wanted == 0) return watch(false);
    const ssize_t n = ::read(fd_.get(), buffer, wanted);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN && !finishing_) break;
    if (n <= 0) return at_end();
    window_ -= static_cast<std::uint64_t>(n);
    total_ += static_cast<std::uint64_t>(n);
    stream_.data(channel_, {buffer, static_cast<std::size_t>(n)});
  }
  if (running_ && fd_) watch(allowance() > 0);
}

void Source::at_end() {
  watch(false);
  fd_.reset();
  said_end_ = true;
  stream_.end(channel_);
  if (ended_) loop_.defer(std::exchange(ended_, nullptr));
}

void Sink::start(base::UniqueFd fd) {
  fd_ = std::move(fd);
  started_ = true;
  pump();
}

void Sink::data(std::string_view bytes) {
  buffer_.append(bytes);
  pump();
}

void Sink::end() {
  ended_ = true;
  pump();
}

void Sink::close() {
  if (watched_) loop_.remove(fd_.get());
  watched_ = false;
  fd_.reset();
}

void Sink::taken(std::size_t bytes) {
  uncredited_ += static_cast<std::uint32_t>(bytes);
  if (uncredited_ >= kCreditStep && !ended_) stream_.give_credit(channel_, std::exchange(uncredited_, 0));
}

void Sink::pump() {
  if (!started_) return;
  while (fd_ && offset_ < buffer_.size()) {
    const ssize_t n = ::write(fd_.get(), buffer_.data() + offset_, buffer_.size() - offset_);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) {
      close();  // nobody reads any more: as with a shell's pipe, the rest is lost
      break;
    }
    offset_ += static_cast<std::size_t>(n);
    taken(static_cast<std::size_t>(n));
  }
  if (!fd_) {
    const std::size_t rest = buffer_.size() - offset_;
    offset_ = buffer_.size();
    taken(rest);
  }
  const bool empty = offset_ == buffer_.size();
  if (empty) {
    buffer_.clear();
    offset_ = 0;
  }
  if (empty && ended_) return close();
  if (fd_ && empty == watched_) {
    if (empty) {
      loop_.remove(fd_.get());
      watched_ = false;
    } else {
      watched_ = static_cast<bool>(loop_.add(fd_.get(), EPOLLOUT, [this](std::uint32_t) { pump(); }));
    }
  }
}

}  // namespace sandforge::agent
