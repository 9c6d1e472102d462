// SPDX-License-Identifier: Apache-2.0
// Where the requests of a guest come from and the answers go: one at a time, in order. Today a stream socket whose
// other end a relay holds; a ring that a monitor fills is to be the second.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::fsd {

class Transport {
 public:
  enum class Event { Request, Woken, Ended };
  struct Received {
    Event event = Event::Ended;
    std::span<const std::byte> message;  // private memory, until the next call
  };

  virtual ~Transport() = default;
  // BLOCKS until there is a request, the worker is to look around, or the guest's side has ended.
  // Errors: corrupt when what comes is not framed.
  virtual base::Result<Received> receive() = 0;
  // Where the answer is to be built, limits::kFsdReplyBytesMax.
  virtual std::span<std::byte> reply_space() = 0;
  // BLOCKS until the other side has taken it. `message` lies in reply_space().
  virtual base::Status reply(std::span<const std::byte> message) = 0;
};

// Over a stream socket; `wake`: an event descriptor that interrupts receive(), borrowed.
base::Result<std::unique_ptr<Transport>> make_stream_transport(base::UniqueFd socket, int wake);

}  // namespace sandforge::fsd
