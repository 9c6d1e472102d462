// SPDX-License-Identifier: Apache-2.0
#include "engine/exec_collect.hpp"

#include "engine/core.hpp"
#include "engine/sandbox.hpp"

namespace sandforge::engine {

Collector::Collector(std::shared_ptr<Sandbox> sandbox, ExecSpec spec)
    : ExecOperation(std::move(sandbox), spec, !spec.stdin_data.empty()),
      stdin_(std::move(spec.stdin_data)),
      cap_(spec.output_cap) {}

base::Result<CollectedExec> Collector::wait() {
  finished_.wait();
  const std::lock_guard lock(mutex_);
  if (!*outcome_) return std::move(*outcome_).error();
  collected_.result = std::move(*outcome_).value();
  return std::move(collected_);
}

void Collector::on_opened() {
  ExecOperation::on_opened();
  feed_stdin();
}

void Collector::on_finished() { finished_.post(); }

void Collector::on_data(std::uint8_t channel, std::string_view bytes) {
  if (channel != wire::kStdout && channel != wire::kStderr) return;
  count(channel, bytes.size());
  std::string& kept = channel == wire::kStdout ? collected_.out : collected_.err;
  const std::size_t room = static_cast<std::size_t>(cap_) - kept.size();
  kept.append(bytes.substr(0, room));
  if (bytes.size() > room) collected_.truncated = true;
  if (const std::size_t credit = debt_[channel].add(bytes.size()); credit > 0 && agent_stream() != nullptr) {
    debt_[channel].set_window(agent_stream()->consumed(channel, credit));
  }
}

void Collector::on_sendable(std::uint8_t channel) {
  if (channel == wire::kStdin) feed_stdin();
}

void Collector::feed_stdin() {
  if (stdin_.empty() || stdin_ended_ || agent_stream() == nullptr) return;
  stdin_sent_ += agent_stream()->send(wire::kStdin, std::string_view(stdin_).substr(stdin_sent_));
  if (stdin_sent_ < stdin_.size()) return;  // on_sendable goes on
  stdin_ended_ = true;
  agent_stream()->end(wire::kStdin);
}

base::Result<CollectedExec> exec(const std::shared_ptr<Sandbox>& sandbox, ExecSpec spec) {
  SANDFORGE_TRY_STATUS(sandbox->core()->may_block());
  const auto collector = std::make_shared<Collector>(sandbox, std::move(spec));
  SANDFORGE_TRY_STATUS(collector->begin_at_once());
  return collector->wait();
}

}  // namespace sandforge::engine
