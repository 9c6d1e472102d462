// SPDX-License-Identifier: Apache-2.0
// Pump: joins a running command to this process's standard streams until it ends or a signal comes.
#pragma once

#include <sandforge/process.hpp>

#include <string>
#include <vector>

#include "server/fd.hpp"

namespace sandforge::cli {

// An event that any thread can set and poll() can wait for.
class Wakeup {
 public:
  Wakeup();
  void set() const;
  void clear() const;
  int fd() const { return fd_.get(); }

 private:
  server::Fd fd_;
};

// SIGINT, SIGTERM and SIGHUP as a descriptor. Blocks them for the calling thread, so make it before other threads.
class Signals {
 public:
  Signals();
  // The signal that came, 0 when there was none.
  int take() const;
  int fd() const { return fd_.get(); }

 private:
  server::Fd fd_;
};

class Pump {
 public:
  // Borrows all three. `wakeup` is set by the notification of `process`.
  Pump(Process& process, const Wakeup& wakeup, const Signals& signals);

  struct End {
    int signal = 0;            // came to us; `result` means nothing then
    bool reader_gone = false;  // nobody reads our output any more; the same
    ExecResult result;
  };
  // BLOCKS until the command ended and its output is written.
  End run();

 private:
  struct Sink {
    Stream stream;
    int fd;
    std::size_t step;     // bytes that can be written without blocking once poll() says so
    std::string pending;  // read from the command, not yet written
    bool ended = false;
  };
  void read_output(Sink& sink);
  bool write_output(Sink& sink);
  void read_input();
  void write_input();
  void close_input();
  bool finished(End& end);
  void wait_for_events(short& out_events, short& err_events, short& in_events);

  Process& process_;
  const Wakeup& wakeup_;
  const Signals& signals_;
  std::vector<char> buffer_;
  Sink out_, err_;
  std::string input_;
  bool input_open_ = true;
  bool has_result_ = false;
};

}  // namespace sandforge::cli
