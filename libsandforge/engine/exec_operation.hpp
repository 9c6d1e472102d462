// SPDX-License-Identifier: Apache-2.0
// ExecOperation: what every command has in common: its request, its verdict, the host's own time-out. What happens to
// its output is the business of the two that derive from it: Collector (exec_collect.hpp) and Process (process.hpp).
#pragma once

#include <array>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "base/event_loop.hpp"
#include "engine/operation.hpp"
#include "engine/spec.hpp"
#include "policy/evaluate.hpp"

namespace sandforge::engine {

class ExecOperation : public Operation {
 public:
  // Any thread: ends the whole tree, verdict `killed`. Answers at once.
  base::Status kill();

  void end_by_sandbox(wire::EndedBy verdict, const base::Error& error) final;

 protected:
  ExecOperation(std::shared_ptr<Sandbox> sandbox, const ExecSpec& spec, bool stream_stdin);

  // Loop thread. The outcome is there: wake whoever waits.
  virtual void on_finished() = 0;

  base::Status may_begin() final;
  void on_opened() override;
  void on_failed(base::Error error) final;
  void on_result(base::Result<wire::ResultHeader> result) final;
  // Loop thread: for the totals of a verdict that the host has to give.
  void count(std::uint8_t channel, std::size_t bytes) noexcept { received_[channel] += bytes; }

  std::mutex mutex_;
  std::condition_variable changed_;
  // Under mutex_. Set once by the loop thread; the error means that no verdict exists.
  std::optional<base::Result<wire::ExecResult>> outcome_;

 private:
  void finish(base::Result<wire::ExecResult> outcome);
  // A verdict of the host's: the guest did not or cannot give one.
  void finish_by_host(wire::EndedBy verdict, std::string reason);

  // Loop thread: the guest is about to end it, `after_ms` from now.
  void watch_the_end(std::int64_t after_ms);

  const policy::Verdict verdict_;  // of the policy about the command
  const std::int64_t timeout_ms_;
  // Loop thread only.
  std::chrono::steady_clock::time_point opened_at_;
  base::Subscription timer_, end_timer_;
  std::string broken_mounts_;                // that were stopped so that it could end
  std::array<std::uint64_t, 3> received_{};  // by channel
};

}  // namespace sandforge::engine
