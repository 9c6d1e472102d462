// SPDX-License-Identifier: Apache-2.0
#include "engine/process.hpp"

#include <fmt/format.h>

#include "base/limits.hpp"

namespace sandforge::engine {
namespace {

using base::Code;

constexpr std::int32_t kSignalMax = 64;

}  // namespace

Process::Process(std::shared_ptr<Sandbox> sandbox, ExecSpec spec, NotifyFn notify, void* user_data)
    : ExecOperation(sandbox, spec, spec.stream_stdin),
      owner_core_(sandbox->core()),
      notifier_(notify, user_data),
      has_stdin_(spec.stream_stdin) {}

base::Status Process::enter(Timeout timeout) const {
  if (timeout == 0) return owner_core_->closed() ? base::Status(Core::closed_error()) : base::Status();
  return owner_core_->may_block();
}

template <typename Ready>
bool Process::wait_for(std::unique_lock<std::mutex>& lock, Timeout timeout, Ready ready) {
  bool is_ready = true;
  if (is_for_ever(timeout))
    changed_.wait(lock, ready);
  else if (timeout == 0)
    is_ready = ready();
  else
    is_ready = changed_.wait_for(lock, std::chrono::milliseconds(timeout), ready);
  if (!is_ready) armed_ = true;
  return is_ready;
}

void Process::wake(std::unique_lock<std::mutex>& lock) {
  const bool call = notifier_.exists() && armed_;
  armed_ = false;
  lock.unlock();
  changed_.notify_all();
  if (call) notifier_.call();
}

base::Result<std::optional<std::size_t>> Process::read(std::uint32_t stream, void* buffer, std::size_t capacity,
                                                       Timeout timeout) {
  if (stream != wire::kStdout && stream != wire::kStderr) {
    return base::make_error(Code::InvalidArgument, "unknown_stream", fmt::format("{} is no output stream", stream));
  }
  if (capacity == 0) return base::make_error(Code::InvalidArgument, "no_capacity_given", "read of no bytes");
  SANDFORGE_TRY_STATUS(enter(timeout));
  Output& output = outputs_[stream - 1];
  std::unique_lock lock(mutex_);
  if (!wait_for(lock, timeout, [&] { return !output.buffer.empty() || output.ended || outcome_.has_value(); })) {
    return std::optional<std::size_t>();
  }
  const std::size_t count = output.buffer.take(buffer, capacity);
  if (count == 0 && !output.ended && !*outcome_) return base::Error(outcome_->error());  // it never ran
  const std::size_t credit = outcome_ ? 0 : output.debt.add(count);
  lock.unlock();
  if (credit > 0) {
    (void)post_self([this, stream, credit] {
      if (agent_stream() == nullptr) return;
      const std::uint32_t window = agent_stream()->consumed(static_cast<std::uint8_t>(stream), credit);
      const std::lock_guard guard(mutex_);
      outputs_[stream - 1].debt.set_window(window);
    });
  }
  return std::optional(count);
}

base::Result<std::optional<std::size_t>> Process::write(std::string_view bytes, Timeout timeout) {
  SANDFORGE_TRY_STATUS(enter(timeout));
  std::unique_lock lock(mutex_);
  if (!has_stdin_) {
    return base::make_error(Code::Conflict, "no_stdin", "the command was started without stream_stdin");
  }
  if (stdin_closed_) return base::make_error(Code::Conflict, "stdin_closed", "stdin of the command was closed before");
  const auto refused = [this] { return stdin_refused_ || outcome_.has_value(); };
  if (bytes.empty()) return std::optional<std::size_t>(0);
  if (!wait_for(lock, timeout, [&] { return refused() || stdin_closed_ || stdin_.space() > 0; })) {
    return std::optional<std::size_t>();
  }
  if (refused()) {
    return base::make_error(Code::Disconnected, "stdin_refused", "the command no longer reads its input");
  }
  if (stdin_closed_) return base::make_error(Code::Conflict, "stdin_closed", "stdin of the command was closed");
  const std::size_t count = std::min(bytes.size(), stdin_.space());
  stdin_.append(bytes.substr(0, count));
  post_flush(lock);
  return std::optional(count);
}

base::Status Process::close_stdin() {
  SANDFORGE_TRY_STATUS(enter(0));
  std::unique_lock lock(mutex_);
  if (!has_stdin_) {
    return base::make_error(Code::Conflict, "no_stdin", "the command was started without stream_stdin");
  }
  stdin_closed_ = true;
  post_flush(lock);
  changed_.notify_all();
  return {};
}

void Process::post_flush(std::unique_lock<std::mutex>& lock) {
  if (flush_posted_) return;
  flush_posted_ = true;
  lock.unlock();
  (void)post_self([this] { flush_stdin(); });
  lock.lock();
}

void Process::flush_stdin() {
  std::unique_lock lock(mutex_);
  flush_posted_ = false;
  if (agent_stream() == nullptr || end_sent_ || stdin_refused_) return;
  // The session copies what it takes and calls nothing back: fine under the lock.
  const bool was_full = stdin_.space() == 0;
  stdin_.drop(agent_stream()->send(wire::kStdin, stdin_.view()));
  if (stdin_.empty() && stdin_closed_) {
    end_sent_ = true;
    agent_stream()->end(wire::kStdin);
  }
  if (was_full && stdin_.space() > 0) wake(lock);
}

base::Status Process::signal(std::int32_t number) {
  if (number < 1 || number > kSignalMax) {
    return base::make_error(Code::InvalidArgument, "unknown_signal", fmt::format("{} is no Linux signal", number));
  }
  return post_self([this, number] {
    if (agent_stream() != nullptr) agent_stream()->signal(static_cast<std::uint32_t>(number));
  });
}

base::Result<std::optional<wire::ExecResult>> Process::wait(Timeout timeout) {
  SANDFORGE_TRY_STATUS(enter(timeout));
  std::unique_lock lock(mutex_);
  if (!wait_for(lock, timeout, [this] { return outcome_.has_value(); })) return std::optional<wire::ExecResult>();
  if (!*outcome_) return base::Error(outcome_->error());
  return std::optional(outcome_->value());
}

void Process::release() {
  notifier_.silence();
  (void)post_self([this] {
    // Letting go of the stream cancels the command, which is its kill.
    if (agent_stream() != nullptr) end_by_sandbox(wire::EndedBy::Killed, base::make_error(Code::Conflict, {}, "freed"));
  });
}

void Process::on_finished() {
  std::unique_lock lock(mutex_);
  wake(lock);
}

void Process::on_data(std::uint8_t channel, std::string_view bytes) {
  if (channel != wire::kStdout && channel != wire::kStderr) return;
  count(channel, bytes.size());
  std::unique_lock lock(mutex_);
  outputs_[channel - 1].buffer.append(bytes);
  wake(lock);
}

void Process::on_end(std::uint8_t channel) {
  std::unique_lock lock(mutex_);
  if (channel == wire::kStdin) {
    stdin_refused_ = true;
    stdin_.clear();
  } else if (channel <= wire::kChannelMax) {
    outputs_[channel - 1].ended = true;
  }
  wake(lock);
}

void Process::on_sendable(std::uint8_t channel) {
  if (channel == wire::kStdin) flush_stdin();
}

}  // namespace sandforge::engine
