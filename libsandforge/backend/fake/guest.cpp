// SPDX-License-Identifier: Apache-2.0
#include "backend/fake/guest.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <csignal>
#include <optional>
#include <random>

#include "backend/fake/agent.hpp"
#include "wire/boot_words.hpp"

namespace sandforge::backend::fake {
namespace {

void notify(int eventfd) noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(eventfd, &one, sizeof one);
}

// Milliseconds until `when`, rounded up, for poll().
int poll_timeout(Clock::time_point when) {
  if (when == Clock::time_point::max()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(when - Clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
}

}  // namespace

// The thread's own state: one connection at a time over one guest.
class FakeGuest::Loop {
 public:
  Loop(FakeGuest& owner) : owner_(owner) {
    std::random_device random;
    guest_.nonce = std::uint64_t{random()} << 32 | random();
    guest_.hostname = owner.hostname_;
    guest_.crash_on_exec = owner.script_ == Script::DieOnExec;
  }

  std::string run() {
    if (owner_.script_ == Script::BadTimer) return std::string("the fake guest ended: ") + wire::kBadTimer;
    while (!owner_.stopping_) {
      bool again = false;
      if (agent_ && owner_.script_ != Script::Silent) again = agent_->advance();
      if (guest_.crashed) return "the fake guest crashed at its first command, as its id asks";
      const bool was_full = agent_ && agent_->out().size() >= limits::kSessionSendMax;
      write_out();
      // Streams that stopped for want of room go on: the host may have nothing to say that would wake this thread.
      again = again || (was_full && agent_ && agent_->out().size() < limits::kSessionSendMax);
      if (guest_.powered_off && (!agent_ || agent_->out().empty())) return "the fake guest powered off";
      wait(again);
    }
    return "the fake guest was killed";
  }

 private:
  void wait(bool again) {
    const bool deaf = owner_.script_ == Script::Silent || owner_.script_ == Script::FailHello;
    pollfd fds[2] = {{owner_.wake_.get(), POLLIN, 0}, {-1, 0, 0}};
    if (socket_) {
      fds[1].fd = deaf ? -1 : socket_.get();
      fds[1].events = POLLIN;
      if (agent_ && !agent_->out().empty()) fds[1].events |= POLLOUT;
      if (deaf && fds[1].events & POLLOUT) fds[1] = {socket_.get(), POLLOUT, 0};
    }
    const auto deadline = agent_ && !deaf ? agent_->next_deadline() : Clock::time_point::max();
    if (::poll(fds, 2, again ? 0 : poll_timeout(deadline)) <= 0) return;
    if (fds[0].revents)
      take_connection();
    else if (fds[1].revents & (POLLIN | POLLHUP | POLLERR))
      read_in(deaf);
  }

  void take_connection() {
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = ::read(owner_.wake_.get(), &count, sizeof count);
    base::UniqueFd next;
    {
      const std::lock_guard lock(owner_.mutex_);
      next = std::move(owner_.next_socket_);
    }
    if (!next) return;
    socket_ = std::move(next);
    agent_.reset();  // tasks of the connection before end with it
    if (owner_.script_ == Script::FailHello) return;
    agent_.emplace(guest_, owner_.script_ == Script::BadVersion ? std::uint16_t{99} : wire::kVersion);
    if (owner_.script_ == Script::Garbage) agent_->out() += std::string(64, '\xa5');
  }

  void read_in(bool deaf) {
    if (deaf) return drop_connection();
    const ssize_t count = ::recv(socket_.get(), buffer_, sizeof buffer_, MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    // Nothing is asked of a guest whose host breaks the protocol but to hang up.
    if (count <= 0 || !agent_ || !agent_->receive({buffer_, static_cast<std::size_t>(count)})) drop_connection();
  }

  void write_out() {
    while (agent_ && !agent_->out().empty()) {
      std::string& out = agent_->out();
      const ssize_t count = ::send(socket_.get(), out.data(), out.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0 && errno == EAGAIN) return;
      if (count < 0) return drop_connection();
      out.erase(0, static_cast<std::size_t>(count));
    }
  }

  void drop_connection() {
    agent_.reset();
    socket_.reset();
  }

  FakeGuest& owner_;
  GuestState guest_;
  base::UniqueFd socket_;
  std::optional<FakeAgent> agent_;
  char buffer_[64 * 1024];
};

FakeGuest::FakeGuest(Script script, std::string hostname) : script_(script), hostname_(std::move(hostname)) {}

FakeGuest::~FakeGuest() {
  stop();
  if (thread_.joinable()) thread_.join();
}

base::Status FakeGuest::start() {
  wake_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  ended_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_ || !ended_) return base::os_error("eventfd");
  // The thread takes no signal of the host program.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return {};
}

base::Result<base::UniqueFd> FakeGuest::attach() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
    return base::os_error("socketpair");
  }
  base::UniqueFd host(ends[0]);
  base::UniqueFd guest(ends[1]);
  {
    const std::lock_guard lock(mutex_);
    // Once it has ended the peer's end just closes, as with a real guest.
    if (how_it_ended_.empty()) next_socket_ = std::move(guest);
  }
  wake();
  return host;
}

void FakeGuest::stop() noexcept {
  stopping_ = true;
  wake();
}

void FakeGuest::wake() noexcept {
  if (wake_) notify(wake_.get());
}

std::string FakeGuest::how_it_ended() const {
  const std::lock_guard lock(mutex_);
  return how_it_ended_;
}

void FakeGuest::run() {
  std::string how;
  {
    const auto loop = std::make_unique<Loop>(*this);
    how = loop->run();
  }
  {
    const std::lock_guard lock(mutex_);
    how_it_ended_ = std::move(how);
    next_socket_.reset();
  }
  notify(ended_.get());
}

}  // namespace sandforge::backend::fake
