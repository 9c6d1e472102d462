// SPDX-License-Identifier: Apache-2.0
// Collector: a command whose output is kept. The collecting happens on the loop thread; the caller sleeps once.
#pragma once

#include <string>
#include <string_view>

#include "base/event.hpp"
#include "engine/channel_buffer.hpp"
#include "engine/exec_operation.hpp"

namespace sandforge::engine {

struct CollectedExec {
  wire::ExecResult result;
  std::string out, err;
  bool truncated = false;  // output_cap cut something off
};

class Collector final : public ExecOperation {
 public:
  Collector(std::shared_ptr<Sandbox> sandbox, ExecSpec spec);

  // After begin(). BLOCKS until the command ended.
  base::Result<CollectedExec> wait();

 private:
  void on_opened() override;
  void on_finished() override;
  void on_data(std::uint8_t channel, std::string_view bytes) override;
  void on_sendable(std::uint8_t channel) override;
  void feed_stdin();

  base::Event finished_;
  // Loop thread only, until the outcome is there.
  const std::string stdin_;
  std::size_t stdin_sent_ = 0;
  bool stdin_ended_ = false;
  const std::uint64_t cap_;
  CollectedExec collected_;
  CreditDebt debt_[3];
};

// Runs a resolved command to its end. BLOCKS. Errors: see sandforge_sandbox_exec.
base::Result<CollectedExec> exec(const std::shared_ptr<Sandbox>& sandbox, ExecSpec spec);

}  // namespace sandforge::engine
