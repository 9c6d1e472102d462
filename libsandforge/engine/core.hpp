// SPDX-License-Identifier: Apache-2.0
// Core: what all sandboxes of one engine share: the loop and its thread, short-lived threads for work that blocks on
// the disk, directories, the log. Handles keep it alive beyond the engine; it is then closed and answers so.
#pragma once

#include <filesystem>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "base/event_loop.hpp"
#include "base/result.hpp"
#include "policy/policy.hpp"

namespace sandforge::engine {

// Numbers are those of sandforge.h (sandforge_log_level).
enum class LogLevel : std::uint32_t { Error = 1, Warn = 2, Info = 3, Debug = 4 };
using LogFn = std::function<void(LogLevel level, const char* line)>;

struct Directories {
  std::filesystem::path state;    // record and disk of each sandbox under "sandboxes"
  std::filesystem::path images;   // the image store, may be shared
  std::filesystem::path helpers;  // as given by the user, may be empty: see base/helpers.hpp
};

class Core {
 public:
  Core(Directories directories, policy::Policy policy, LogFn log, LogLevel level);
  ~Core();
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  // Starts the loop thread, all signals blocked in it.
  base::Status start();
  // Runs what was posted before, then ends the thread. BLOCKS. Not from the loop thread. Idempotent.
  void close();

  // Any thread. False, and nothing happens, once the core is closed.
  bool post(base::EventLoop::Task task);
  // The same, but on the calling thread if the loop has nothing else to do: see EventLoop::run_if_idle.
  bool run_or_post(base::EventLoop::Task task);
  bool closed() const;
  // The error of every call on a handle that outlived its engine.
  static base::Error closed_error();
  // For functions that wait for the loop: they would wait for ever when called on its thread.
  base::Status may_block() const;

  // Any thread but the loop's: runs `work` on the loop and BLOCKS until it is done. Errors: its own, closed_error.
  base::Status call(std::function<base::Status()> work);
  // Loop thread: `work` runs on a thread of its own, then `done` on the loop. close() must not come before `done`.
  void run_blocking(std::function<void()> work, std::function<void()> done);

  // Any thread.
  void log(LogLevel level, std::string_view line) const;

  base::EventLoop& loop() noexcept { return loop_; }
  const Directories& directories() const noexcept { return directories_; }
  const policy::Policy& policy() const noexcept { return policy_; }
  std::filesystem::path sandbox_directory(std::string_view id) const { return directories_.state / "sandboxes" / id; }

 private:
  const Directories directories_;
  const policy::Policy policy_;
  const LogFn log_;
  const LogLevel level_;
  base::EventLoop loop_;
  std::thread thread_;
  std::list<std::thread> workers_;  // loop thread only
  mutable std::mutex mutex_;
  bool closed_ = false;  // under mutex_
};

}  // namespace sandforge::engine
