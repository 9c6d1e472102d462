// SPDX-License-Identifier: Apache-2.0
// ExecSpec, ExecResult and Process: commands in a sandbox.
#pragma once

#include <sandforge/error.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sandforge {

// What ended a command; the first cause wins.
enum class EndedBy : sandforge_ended_by {
  Exit = SANDFORGE_ENDED_BY_EXIT,
  Signal = SANDFORGE_ENDED_BY_SIGNAL,
  Timeout = SANDFORGE_ENDED_BY_TIMEOUT,
  Oom = SANDFORGE_ENDED_BY_OOM,
  OutputCap = SANDFORGE_ENDED_BY_OUTPUT_CAP,
  Killed = SANDFORGE_ENDED_BY_KILLED,
  Policy = SANDFORGE_ENDED_BY_POLICY,
  VmCrash = SANDFORGE_ENDED_BY_VM_CRASH,
  AgentLost = SANDFORGE_ENDED_BY_AGENT_LOST,
};
inline const char* name_of(EndedBy ended_by) {
  return sandforge_ended_by_name(static_cast<sandforge_ended_by>(ended_by));
}

struct ExecSpec {
  std::vector<std::string> argv{};                         // at least one; the first is looked up in the task's PATH
  std::vector<std::pair<std::string, std::string>> env{};  // added to PATH, HOME and LANG
  std::string cwd{};                                       // empty: "/"
  std::string user{};                                      // empty: root
  std::chrono::milliseconds timeout{0};                    // 0: none but the sandbox's own life
  std::string stdin_data{};                                // exec only: given to the command, then end of file
  std::uint64_t output_cap = 0;                            // exec only: bytes kept of each stream; 0: 16 MiB
  bool stream_stdin = false;                               // start only: write() will be used; otherwise stdin is empty
  std::uint64_t memory_max = 0;                            // bytes; 0: no limit but the guest's memory
  std::uint32_t pids_max = 0;                              // 0: the default, 4096
};

// stdout and stderr are macros of the C library, hence the names.
struct ExecResult {
  std::int32_t exit_code = 0;  // 128+n for a signal, 124 time-out, 127 not found, 126 not startable
  EndedBy ended_by = EndedBy::Exit;
  std::int32_t signal = 0;
  bool truncated = false;     // output_cap cut what is kept
  std::string stdout_data{};  // bytes as written; empty when it comes from Process::wait
  std::string stderr_data{};
  std::uint64_t stdout_total = 0;  // bytes that the command wrote
  std::uint64_t stderr_total = 0;
  std::chrono::nanoseconds wall{0};
  std::chrono::nanoseconds cpu{0};  // of the whole process tree
  std::uint64_t memory_peak = 0;    // bytes; 0 when unknown
  std::string reason{};             // one line on how it ended, empty when it just exited
};

enum class Stream : std::uint32_t { Stdout = SANDFORGE_STDOUT, Stderr = SANDFORGE_STDERR };

// "Something may be possible now." Called on the engine's thread: it must be short, must not block and must not throw.
using NotifyFunction = std::function<void()>;

// As a time limit: wait for as long as it takes.
inline constexpr std::chrono::milliseconds kForever{-1};

namespace detail {

inline void call_notify(void* user_data) noexcept { (*static_cast<NotifyFunction*>(user_data))(); }

inline ExecResult copy(const sandforge_exec_result& from) {
  ExecResult result;
  result.exit_code = from.exit_code;
  result.ended_by = static_cast<EndedBy>(from.ended_by);
  result.signal = from.signal;
  result.truncated = from.truncated != 0;
  if (from.stdout_len > 0) result.stdout_data.assign(reinterpret_cast<const char*>(from.stdout_data), from.stdout_len);
  if (from.stderr_len > 0) result.stderr_data.assign(reinterpret_cast<const char*>(from.stderr_data), from.stderr_len);
  result.stdout_total = from.stdout_total;
  result.stderr_total = from.stderr_total;
  result.wall = std::chrono::nanoseconds(static_cast<std::int64_t>(from.wall_ns));
  result.cpu = std::chrono::nanoseconds(static_cast<std::int64_t>(from.cpu_ns));
  result.memory_peak = from.memory_peak;
  result.reason = text_of(from.reason);
  return result;
}

// An ExecSpec in C's terms. Borrows from the spec, which must outlive it.
class CExecSpec {
 public:
  explicit CExecSpec(const ExecSpec& spec) {
    argv_.reserve(spec.argv.size());
    for (const std::string& argument : spec.argv) argv_.push_back(c_text(argument, "an argument"));
    pairs_.reserve(spec.env.size());
    env_.reserve(spec.env.size());
    for (const auto& [key, value] : spec.env) {
      if (key.empty() || key.find('=') != std::string::npos) {
        throw InvalidArgument("invalid_env", "environment variable name '" + key + "' is empty or contains '='");
      }
      pairs_.push_back(key + "=" + value);
      env_.push_back(c_text(pairs_.back(), "an environment variable"));
    }
    c_.size = sizeof c_;
    c_.argv = argv_.data();
    c_.argc = argv_.size();
    c_.env = env_.data();
    c_.envc = env_.size();
    c_.cwd = c_text_or_default(spec.cwd, "cwd");
    c_.user = c_text_or_default(spec.user, "user");
    c_.timeout_ms = spec.timeout.count();
    c_.stdin_data = spec.stdin_data.data();
    c_.stdin_len = spec.stdin_data.size();
    c_.output_cap = spec.output_cap;
    c_.stream_stdin = spec.stream_stdin ? 1 : 0;
    c_.memory_max = spec.memory_max;
    c_.pids_max = spec.pids_max;
  }
  const sandforge_exec_spec* get() const noexcept { return &c_; }

 private:
  std::vector<const char*> argv_;
  std::vector<std::string> pairs_;
  std::vector<const char*> env_;
  sandforge_exec_spec c_{};
};

}  // namespace detail

// A running command, made by Sandbox::start. Move-only. The destructor ends the command if it still runs, without
// waiting. Output waits in a bounded window: a reader that stops reading stops the command, and nobody else.
class Process {
 public:
  Process(Process&&) noexcept = default;
  Process& operator=(Process&& other) noexcept {
    process_ = std::move(other.process_);  // after this the old notify_ is not called any more
    notify_ = std::move(other.notify_);
    return *this;
  }
  ~Process() = default;

  // BLOCKS for at most `timeout`. Empty: nothing came in that time; 0: end of the stream.
  std::optional<std::size_t> read(Stream stream, void* buffer, std::size_t capacity,
                                  std::chrono::milliseconds timeout = kForever) {
    detail::Call call;
    std::size_t count = 0;
    const sandforge_code code = sandforge_process_read(process_.get(), static_cast<std::uint32_t>(stream), buffer,
                                                       capacity, timeout.count(), &count, call.slot());
    if (code == SANDFORGE_TIMED_OUT) return std::nullopt;
    call.check(code);
    return count;
  }

  // BLOCKS for at most `timeout`. How many bytes were taken, at least one; empty: none in that time.
  std::optional<std::size_t> write(std::string_view data, std::chrono::milliseconds timeout = kForever) {
    detail::Call call;
    std::size_t count = 0;
    const sandforge_code code =
        sandforge_process_write(process_.get(), data.data(), data.size(), timeout.count(), &count, call.slot());
    if (code == SANDFORGE_TIMED_OUT) return std::nullopt;
    call.check(code);
    return count;
  }

  void close_stdin() {
    detail::Call call;
    call.check(sandforge_process_close_stdin(process_.get(), call.slot()));
  }

  // A Linux signal number, to the command itself.
  void signal(std::int32_t number) {
    detail::Call call;
    call.check(sandforge_process_signal(process_.get(), number, call.slot()));
  }

  // Ends the whole tree; answers at once, wait() tells the end.
  void kill() {
    detail::Call call;
    call.check(sandforge_process_kill(process_.get(), call.slot()));
  }

  // BLOCKS for at most `timeout`. Empty: it still runs. The result has the totals of the output, not its bytes.
  std::optional<ExecResult> wait(std::chrono::milliseconds timeout = kForever) {
    detail::Call call;
    sandforge_exec_result* raw = nullptr;
    const sandforge_code code = sandforge_process_wait(process_.get(), timeout.count(), &raw, call.slot());
    if (code == SANDFORGE_TIMED_OUT) return std::nullopt;
    call.check(code);
    const detail::Owned<sandforge_exec_result, sandforge_exec_result_free> result(raw);
    return detail::copy(*result);
  }

  sandforge_process* native_handle() const noexcept { return process_.get(); }

 private:
  friend class Sandbox;
  Process(sandforge_process* process, std::unique_ptr<NotifyFunction> notify) noexcept
      : notify_(std::move(notify)), process_(process) {}

  std::unique_ptr<NotifyFunction> notify_;  // before process_: called until the process is freed
  detail::Owned<sandforge_process, sandforge_process_free> process_;
};

}  // namespace sandforge
