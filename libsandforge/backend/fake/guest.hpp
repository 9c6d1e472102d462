// SPDX-License-Identifier: Apache-2.0
// FakeGuest: what runs in the fake backend's thread: the agent's half of the wire protocol over one socket at a time,
// an in-memory file tree and commands that are small programs. Only start(), attach(), stop() and the ended_fd are for
// other threads.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::backend::fake {

// How a guest misbehaves; see the table in backend.hpp.
enum class Script { None, FailHello, BadVersion, Garbage, DieOnExec, Silent, BadTimer };

class FakeGuest {
 public:
  FakeGuest(Script script, std::string hostname);
  ~FakeGuest();  // stops and joins: BLOCKS for what one step takes
  FakeGuest(const FakeGuest&) = delete;
  FakeGuest& operator=(const FakeGuest&) = delete;

  base::Status start();
  // Gives the guest a new connection, in the place of the one before. The peer's end is returned.
  base::Result<base::UniqueFd> attach();
  void stop() noexcept;
  int ended_fd() const noexcept { return ended_.get(); }
  std::string how_it_ended() const;

 private:
  class Loop;
  void run();
  void wake() noexcept;

  const Script script_;
  const std::string hostname_;
  base::UniqueFd wake_, ended_;  // eventfds
  std::atomic<bool> stopping_ = false;
  mutable std::mutex mutex_;  // of the two below; never held while anything waits
  base::UniqueFd next_socket_;
  std::string how_it_ended_;
  std::thread thread_;
};

}  // namespace sandforge::backend::fake
