// SPDX-License-Identifier: Apache-2.0
// Process: a command whose streams a caller reads and writes while it runs, through windows of bounded size.
//
//   loop:   on_data -> window (at most the credit given) -> read() on the caller's thread -> credit back
//   caller: write() -> stdin window -> loop: send, on_sendable, … -> end
#pragma once

#include <optional>

#include "engine/channel_buffer.hpp"
#include "engine/exec_operation.hpp"
#include "engine/notifier.hpp"
#include "engine/sandbox.hpp"

namespace sandforge::engine {

class Process final : public ExecOperation {
 public:
  Process(std::shared_ptr<Sandbox> sandbox, ExecSpec spec, NotifyFn notify, void* user_data);

  // Caller's threads. An empty optional: nothing came within `timeout` ms (-1: no limit). Those with a timeout that is
  // not 0 BLOCK.
  // 0 bytes at the end of the stream.
  base::Result<std::optional<std::size_t>> read(std::uint32_t stream, void* buffer, std::size_t capacity,
                                                Timeout timeout);
  base::Result<std::optional<std::size_t>> write(std::string_view bytes, Timeout timeout);
  base::Result<std::optional<wire::ExecResult>> wait(Timeout timeout);
  base::Status close_stdin();
  base::Status signal(std::int32_t number);
  // No callback from here on; the command ends if it still runs.
  void release();

 private:
  void on_finished() override;
  void on_data(std::uint8_t channel, std::string_view bytes) override;
  void on_end(std::uint8_t channel) override;
  void on_sendable(std::uint8_t channel) override;

  // Errors that come before any waiting.
  base::Status enter(Timeout timeout) const;
  // Waits under the lock until `ready`; false, and the notifier armed, when it was not in time.
  template <typename Ready>
  bool wait_for(std::unique_lock<std::mutex>& lock, Timeout timeout, Ready ready);
  // Loop thread, no lock held: something changed.
  void wake(std::unique_lock<std::mutex>& lock);
  void flush_stdin();
  void post_flush(std::unique_lock<std::mutex>& lock);

  struct Output {
    ChannelBuffer buffer;
    CreditDebt debt;
    bool ended = false;
  };

  const std::shared_ptr<Core> owner_core_;
  Notifier notifier_;
  const bool has_stdin_;
  // Under mutex_ of the base.
  Output outputs_[2];
  ChannelBuffer stdin_;
  bool stdin_closed_ = false;   // by the caller
  bool stdin_refused_ = false;  // by the command
  bool flush_posted_ = false;
  bool armed_ = true;      // the notifier may be called
  bool end_sent_ = false;  // loop thread only
};

}  // namespace sandforge::engine
