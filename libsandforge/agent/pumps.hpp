// SPDX-License-Identifier: Apache-2.0
// Pumps: a descriptor's bytes to the host (Source) and the host's bytes to a descriptor (Sink), within the credit
// window, so that a slow reader on one side stops the writer on the other. Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "agent/loop.hpp"
#include "agent/stream.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::agent {

class Source {
 public:
  // How the descriptor is cut into Data frames: any bytes, or one packet a frame (a socket that keeps boundaries).
  enum class Cut : std::uint8_t { Bytes, Packets };

  Source(Loop& loop, Stream& stream, std::uint8_t channel) : loop_(loop), stream_(stream), channel_(channel) {}
  ~Source() { close(); }
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  // Takes the descriptor, which must be non-blocking, but reads nothing yet.
  void hold(base::UniqueFd fd, Cut cut = Cut::Bytes);
  // Starts reading. `ended` is called once, after End was sent; never from inside a call of this object.
  void run(std::function<void()> ended);
  void credit(std::uint32_t bytes);
  void backlog_cleared() { pump(); }
  // Nobody writes any more: what the pipe holds now is all there is, even if a survivor keeps its other end open.
  void finish();
  // No End, no call: the stream is of no use any more.
  void close();
  bool open() const noexcept { return static_cast<bool>(fd_); }
  bool said_end() const noexcept { return said_end_; }
  std::uint64_t total() const noexcept { return total_; }

 private:
  void pump();
  void watch(bool wanted);
  void at_end();
  std::size_t allowance() const noexcept;

  Loop& loop_;
  Stream& stream_;
  const std::uint8_t channel_;
  base::UniqueFd fd_;
  Cut cut_ = Cut::Bytes;
  std::function<void()> ended_;
  std::uint64_t window_ = limits::kStreamWindow;
  std::uint64_t total_ = 0;
  bool running_ = false;
  bool watched_ = false;
  bool finishing_ = false;
  bool said_end_ = false;
};

class Sink {
 public:
  Sink(Loop& loop, Stream& stream, std::uint8_t channel) : loop_(loop), stream_(stream), channel_(channel) {}
  ~Sink() { close(); }
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

  // Non-blocking. Without a descriptor everything is taken and thrown away.
  void start(base::UniqueFd fd);
  void data(std::string_view bytes);
  // Closes the descriptor once all is written.
  void end();
  void close();

 private:
  void pump();
  void taken(std::size_t bytes);

  Loop& loop_;
  Stream& stream_;
  const std::uint8_t channel_;
  base::UniqueFd fd_;
  std::string buffer_;  // at most limits::kStreamWindow: the connection refuses more
  std::size_t offset_ = 0;
  std::uint32_t uncredited_ = 0;
  bool watched_ = false;
  bool ended_ = false;
  bool started_ = false;
};

}  // namespace sandforge::agent
