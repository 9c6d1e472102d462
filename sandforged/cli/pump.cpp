// SPDX-License-Identifier: Apache-2.0
#include "cli/pump.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>

namespace sandforge::cli {
namespace {

constexpr std::size_t kBufferBytes = 64 * 1024;
constexpr std::chrono::milliseconds kNow{0};

// A pipe that polls writable has room for PIPE_BUF bytes, and a file for any number.
std::size_t step_of(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode) ? kBufferBytes : PIPE_BUF;
}

}  // namespace

Wakeup::Wakeup() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!fd_) throw Internal("eventfd", "cannot make an event descriptor", {}, errno);
}
void Wakeup::set() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(fd_.get(), &one, sizeof one);
}
void Wakeup::clear() const {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t taken = ::read(fd_.get(), &count, sizeof count);
}

Signals::Signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, number);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  fd_ = server::Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd_) throw Internal("signalfd", "cannot make a signal descriptor", {}, errno);
}
int Signals::take() const {
  signalfd_siginfo info{};
  return ::read(fd_.get(), &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
}

Pump::Pump(Process& process, const Wakeup& wakeup, const Signals& signals)
    : process_(process),
      wakeup_(wakeup),
      signals_(signals),
      buffer_(kBufferBytes),
      out_{Stream::Stdout, STDOUT_FILENO, step_of(STDOUT_FILENO), {}},
      err_{Stream::Stderr, STDERR_FILENO, step_of(STDERR_FILENO), {}} {}

Pump::End Pump::run() {
  End end;
  for (;;) {
    wakeup_.clear();  // before looking: what comes after the look sets it again
    read_output(out_);
    read_output(err_);
    write_input();
    if (finished(end)) return end;
    short out_events = 0;
    short err_events = 0;
    short in_events = 0;
    wait_for_events(out_events, err_events, in_events);
    end.signal = signals_.take();
    if (end.signal != 0) return end;
    if (in_events != 0) read_input();
    const bool out_fine = out_events == 0 || write_output(out_);
    const bool err_fine = err_events == 0 || write_output(err_);
    if (!out_fine || !err_fine) {
      end.reader_gone = true;
      return end;
    }
  }
}

// Output is read only when the last of it has been written: a slow reader of ours slows the command, not our memory.
void Pump::read_output(Sink& sink) {
  if (sink.ended || !sink.pending.empty()) return;
  const auto count = process_.read(sink.stream, buffer_.data(), buffer_.size(), kNow);
  if (!count) {
    sink.ended = has_result_;  // after the end nothing more comes
    return;
  }
  sink.ended = *count == 0;
  sink.pending.assign(buffer_.data(), *count);
}

bool Pump::write_output(Sink& sink) {
  const ssize_t count = ::write(sink.fd, sink.pending.data(), std::min(sink.step, sink.pending.size()));
  if (count < 0) return errno == EINTR || errno == EAGAIN;
  sink.pending.erase(0, static_cast<std::size_t>(count));
  return true;
}

void Pump::read_input() {
  const ssize_t count = ::read(STDIN_FILENO, buffer_.data(), buffer_.size());
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (count <= 0) {
    close_input();
    return;
  }
  input_.assign(buffer_.data(), static_cast<std::size_t>(count));
}

void Pump::write_input() {
  try {
    while (!input_.empty()) {
      const auto count = process_.write(input_, kNow);
      if (!count) return;
      input_.erase(0, *count);
    }
  } catch (const Error&) {  // the command no longer reads: not our failure
    input_.clear();
    input_open_ = false;
  }
}

void Pump::close_input() {
  input_open_ = false;
  try {
    process_.close_stdin();
  } catch (const Error&) {
    // It has ended already.
  }
}

bool Pump::finished(End& end) {
  if (!has_result_) {
    auto result = process_.wait(kNow);
    if (!result) return false;
    has_result_ = true;
    end.result = *std::move(result);
    read_output(out_);
    read_output(err_);
  }
  return out_.ended && err_.ended && out_.pending.empty() && err_.pending.empty();
}

void Pump::wait_for_events(short& out_events, short& err_events, short& in_events) {
  const bool want_input = input_open_ && input_.empty() && !has_result_;
  std::array<pollfd, 5> fds{{{wakeup_.fd(), POLLIN, 0},
                             {signals_.fd(), POLLIN, 0},
                             {out_.pending.empty() ? -1 : out_.fd, POLLOUT, 0},
                             {err_.pending.empty() ? -1 : err_.fd, POLLOUT, 0},
                             {want_input ? STDIN_FILENO : -1, POLLIN, 0}}};
  // With the verdict in hand and nothing to write there is only reading on, without waiting.
  const bool reading_on = has_result_ && out_.pending.empty() && err_.pending.empty();
  if (::poll(fds.data(), fds.size(), reading_on ? 0 : -1) < 0) return;
  out_events = fds[2].revents;
  err_events = fds[3].revents;
  in_events = fds[4].revents;
}

}  // namespace sandforge::cli
