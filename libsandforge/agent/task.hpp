// SPDX-License-Identifier: Apache-2.0
// Task: one command of the host: its process tree, control group, pipes, time-out and verdict.
//
//      start -> (user looked up) -> cloned -> Started|Failed -> main process ends | time-out | cancel | lost connection
//            -> tree killed -> tree dead and collected -> pipes emptied -> Result
//
// The tree dies with the task, always and first; only then are the pipes emptied of what they hold. Nothing waits for
// the end of a pipe. Loop thread only.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/cgroup.hpp"
#include "agent/loop.hpp"
#include "agent/pumps.hpp"
#include "agent/reaper.hpp"
#include "agent/stream.hpp"
#include "agent/task_child.hpp"
#include "agent/task_spec.hpp"
#include "agent/workers.hpp"
#include "base/unique_fd.hpp"
#include "wire/messages.hpp"

namespace sandforge::agent {

// What all tasks share. Outlives them.
struct TaskContext {
  Loop& loop;
  Reaper& reaper;
  Workers& workers;
  CgroupRoot& cgroups;
  std::string root_path;            // the guest's root in the agent's view
  int root = -1;                    // the same, open
  int null_device = -1;             // /dev/null
  std::vector<sock_filter> filter;  // of tasks in a container
  std::size_t alive = 0;            // tasks whose tree is not dead yet
  std::function<void()> idle;       // called in a later round when the last of them is
};

class Task final : public Operation, public std::enable_shared_from_this<Task> {
 public:
  Task(TaskContext& context, Stream& stream, wire::ExecRequest request);
  ~Task() override;

  void start() override;
  bool data(std::uint8_t channel, std::string_view bytes) override;
  bool end(std::uint8_t channel) override;
  void credit(std::uint8_t channel, std::uint32_t bytes) override;
  void signal(std::uint32_t number) override;
  void cancel() override;
  void abandon() override;
  void backlog_cleared() override;

 private:
  struct Pipes;  // the child's ends, only while launching

  void launch(User user);
  base::Status spawn(const User& user, Pipes& pipes);
  base::Status open_pipes(Pipes& pipes);
  base::Status watch_child();
  void read_reports();
  void on_report(const ChildReport& report, base::UniqueFd pidfd, std::uint32_t pid);
  void on_started(base::UniqueFd pidfd, std::uint32_t pid);
  void on_failed(const ChildReport& report);
  void on_child_ended(int wait_status);
  void on_timer();
  void main_ended(int wait_status);
  void set_cause(wire::EndedBy cause, int exit_code, int signal, std::string reason);
  void kill_tree();
  void check_dead();
  void maybe_complete();
  void complete();
  void release();
  void arm_timer(std::uint64_t milliseconds);

  TaskContext& context_;
  Stream& stream_;
  wire::ExecRequest request_;
  Source stdout_, stderr_;
  Sink stdin_;
  Cgroup cgroup_;
  base::UniqueFd report_, pidfd_, timer_;
  pid_t child_ = -1;
  std::int64_t started_ns_ = 0, ended_ns_ = 0;
  wire::ExecResult result_;
  std::optional<base::Error> error_;  // the task could not even be set up
  std::vector<int> early_signals_;    // before the main process is known
  std::shared_ptr<Task> self_;        // from start() to the tree's end: the stream may go before
  bool cause_set_ = false;
  bool running_ = false;  // execve is done, the pumps run
  bool killed_ = false;   // kill_tree() was called
  bool reaped_ = false;
  bool tree_dead_ = false;
  bool completed_ = false;  // Result was sent
  bool abandoned_ = false;  // stream_ must not be used
};

}  // namespace sandforge::agent
