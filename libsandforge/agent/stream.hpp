// SPDX-License-Identifier: Apache-2.0
// Stream and Operation: the two sides of one open stream. The connection owns streams; an operation may outlive its
// stream (a process tree that is still dying), never the agent. Loop thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "base/result.hpp"
#include "wire/frames.hpp"
#include "wire/messages.hpp"

namespace sandforge::agent {

// What an operation may say to the host. After finish() or detach() everything is dropped silently.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual void meta(std::string_view payload) = 0;                      // waits a little for company, as end() does
  virtual void data(std::uint8_t channel, std::string_view bytes) = 0;  // at most limits::kFramePayloadMax
  virtual void end(std::uint8_t channel) = 0;
  virtual void give_credit(std::uint8_t channel, std::uint32_t bytes) = 0;
  // The last word. The connection forgets the stream in a later round of the loop.
  virtual void finish(const wire::ResultHeader& result) = 0;
  // The connection's output queue is long: stop reading until backlog_cleared().
  virtual bool congested() const = 0;
};

// One running operation. The connection checks windows and frame order before it calls.
class Operation {
 public:
  virtual ~Operation() = default;
  virtual void start() = 0;
  // False: this operation takes no data on that channel, which breaks the protocol.
  virtual bool data(std::uint8_t, std::string_view) { return false; }
  virtual bool end(std::uint8_t) { return false; }
  virtual void credit(std::uint8_t, std::uint32_t) {}
  virtual void signal(std::uint32_t) {}
  // End now; finish() follows all the same.
  virtual void cancel() = 0;
  // The connection is gone: as cancel(), and the stream must not be used any more.
  virtual void abandon() = 0;
  virtual void backlog_cleared() {}
};

inline wire::ResultHeader result_of(const base::Error& error) {
  return {error.code, error.os_errno, error.message, {}};
}

}  // namespace sandforge::agent
