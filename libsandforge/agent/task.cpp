// SPDX-License-Identifier: Apache-2.0
#include "agent/task.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#include <cstring>
#include <utility>

#include "agent/clock.hpp"
#include "agent/syscalls.hpp"

namespace sandforge::agent {

using wire::EndedBy;

namespace {
constexpr int kExitTimeout = 124, kExitNotFound = 127, kExitCannotRun = 126, kExitSignalBase = 128;
// A killed process is gone at once unless it sleeps in the kernel where even SIGKILL waits (a dead network mount).
constexpr std::uint64_t kDeathGraceMs = 10'000;
constexpr int kOutputPipeBytes = 256 * 1024;

base::Status open_pipe(base::UniqueFd& agent_end, base::UniqueFd& child_end, bool to_child) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return base::os_error("pipe");
  agent_end.reset(ends[to_child ? 1 : 0]);
  child_end.reset(ends[to_child ? 0 : 1]);
  // Only this end: the flag belongs to one side of a pipe, and programs expect theirs to block.
  if (::fcntl(agent_end.get(), F_SETFL, O_NONBLOCK) != 0) return base::os_error("fcntl");
  // Room for a batch: the agent reads, and the host is kicked, once for what would be four of the usual 64 KiB. The
  // kernel takes pages only for what is in it. Where it refuses, the usual size does.
  if (!to_child) (void)::fcntl(agent_end.get(), F_SETPIPE_SZ, kOutputPipeBytes);
  return {};
}
// For a message: at most 200 bytes of what the host sent.
std::string quote(std::string_view text) {
  std::string out;
  out += '"';
  out += text.substr(0, 200);
  out += '"';
  return out;
}

}  // namespace

struct Task::Pipes {
  base::UniqueFd stdin_agent, stdin_child;
  base::UniqueFd stdout_agent, stdout_child;
  base::UniqueFd stderr_agent, stderr_child;
  base::UniqueFd report_child;
};

Task::Task(TaskContext& context, Stream& stream, wire::ExecRequest request)
    : context_(context),
      stream_(stream),
      request_(std::move(request)),
      stdout_(context.loop, stream, wire::kStdout),
      stderr_(context.loop, stream, wire::kStderr),
      stdin_(context.loop, stream, wire::kStdin) {}

Task::~Task() {
  if (report_) context_.loop.remove(report_.get());
  if (timer_) context_.loop.remove(timer_.get());
  if (cgroup_) context_.loop.remove(cgroup_.events());
}

void Task::start() {
  self_ = shared_from_this();
  ++context_.alive;
  if (request_.user.empty()) return launch(User{});
  // /etc/passwd may lie on anything: not on this thread.
  context_.workers.submit([self = self_, wanted = request_.user, root = context_.root, loop = &context_.loop] {
    auto user = std::make_shared<base::Result<User>>(load_user(root, wanted));
    loop->post([self, user] {
      if (self->completed_) return;
      if (self->cause_set_) return self->complete();
      if (*user) return self->launch(std::move(*user).value());
      self->error_ = std::move(*user).error();
      self->complete();
    });
  });
}

void Task::launch(User user) {
  Pipes pipes;
  const base::Status spawned = spawn(user, pipes);
  if (!spawned) {
    error_ = spawned.error();
    return complete();
  }
  const base::Status watched = watch_child();
  if (!watched) {
    error_ = watched.error();
    return kill_tree();
  }
  // The pumps own the agent's ends, but read nothing before the command runs.
  if (request_.stream_stdin != 0) stdin_.start(std::move(pipes.stdin_agent));
  stdout_.hold(std::move(pipes.stdout_agent));
  stderr_.hold(std::move(pipes.stderr_agent));
  if (request_.timeout_ms != 0) arm_timer(request_.timeout_ms);
}

base::Status Task::open_pipes(Pipes& pipes) {
  if (request_.stream_stdin != 0) {
    SANDFORGE_TRY_STATUS(open_pipe(pipes.stdin_agent, pipes.stdin_child, true));
  }
  SANDFORGE_TRY_STATUS(open_pipe(pipes.stdout_agent, pipes.stdout_child, false));
  SANDFORGE_TRY_STATUS(open_pipe(pipes.stderr_agent, pipes.stderr_child, false));
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return base::os_error("socketpair");
  report_.reset(ends[0]);
  pipes.report_child.reset(ends[1]);
  const int on = 1;  // whom a report is about: ChildReport::Kind::Started
  if (::setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) != 0) return base::os_error("setsockopt");
  return {};
}

base::Status Task::spawn(const User& user, Pipes& pipes) {
  const CgroupLimits limits{request_.memory_max, request_.pids_max, request_.cpu_max_milli};
  SANDFORGE_TRY(Cgroup group, context_.cgroups.create(limits));
  SANDFORGE_TRY_STATUS(open_pipes(pipes));
  TaskSpec spec = make_spec(request_, user);
  std::vector<char*> argv = pointers_of(spec.argv);
  std::vector<char*> env = pointers_of(spec.env);
  std::vector<char*> candidates = pointers_of(spec.candidates);

  ChildPlan plan;
  plan.container = request_.isolation == wire::TaskIsolation::Container;
  plan.root = context_.root_path.c_str();
  plan.stdin_fd = pipes.stdin_child ? pipes.stdin_child.get() : context_.null_device;
  plan.stdout_fd = pipes.stdout_child.get();
  plan.stderr_fd = pipes.stderr_child.get();
  plan.report_fd = pipes.report_child.get();
  plan.argv = argv.data();
  plan.env = env.data();
  plan.candidates = candidates.data();
  plan.cwd = spec.cwd.c_str();
  plan.uid = spec.user.uid;
  plan.gid = spec.user.gid;
  plan.groups = spec.user.groups.data();
  plan.group_count = spec.user.groups.size();
  plan.filter = context_.filter;

  int pidfd = -1;
  clone_args args{};
  args.flags = CLONE_PIDFD;
  args.pidfd = reinterpret_cast<std::uint64_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  if (plan.container) args.flags |= CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS;
  if (group) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<std::uint64_t>(group.directory());
  }
  started_ns_ = monotonic_ns();
  child_ = sys_clone3(args);
  if (child_ == 0) run_child(plan);
  if (child_ < 0) return base::os_error("cannot start a process");
  pidfd_.reset(pidfd);
  cgroup_.adopt(std::move(group));
  return {};
}

base::Status Task::watch_child() {
  Loop& loop = context_.loop;
  context_.reaper.expect(child_, [self = self_](int status) { self->on_child_ended(status); });
  if (cgroup_) {
    (void)cgroup_.populated();  // arms the notification
    SANDFORGE_TRY_STATUS(loop.add(cgroup_.events(), EPOLLPRI, [this](std::uint32_t) { check_dead(); }));
  }
  SANDFORGE_TRY_STATUS(loop.add(report_.get(), EPOLLIN, [this](std::uint32_t) { read_reports(); }));
  timer_.reset(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer_) return base::os_error("timerfd_create");
  return loop.add(timer_.get(), EPOLLIN, [this](std::uint32_t) { on_timer(); });
}

void Task::arm_timer(std::uint64_t milliseconds) {
  itimerspec when{};
  when.it_value.tv_sec = static_cast<time_t>(milliseconds / 1000);
  when.it_value.tv_nsec = static_cast<long>(milliseconds % 1000) * 1'000'000;
  if (timer_) ::timerfd_settime(timer_.get(), 0, &when, nullptr);
}

void Task::read_reports() {
  while (report_) {
    ChildReport report{};
    iovec part{&report, sizeof(report)};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(ucred))]{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    const ssize_t n = ::recvmsg(report_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    base::UniqueFd passed;
    ucred sender{};
    for (cmsghdr* header = n > 0 ? CMSG_FIRSTHDR(&message) : nullptr; header != nullptr;
         header = CMSG_NXTHDR(&message, header)) {
      if (header->cmsg_type == SCM_CREDENTIALS) std::memcpy(&sender, CMSG_DATA(header), sizeof(sender));
      if (header->cmsg_type != SCM_RIGHTS) continue;
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header), sizeof(fd));
      passed.reset(fd);
    }
    if (n == sizeof(report)) {
      on_report(report, std::move(passed), static_cast<std::uint32_t>(sender.pid));
      continue;
    }
    context_.loop.remove(report_.get());
    report_.reset();
    // A process task closes it by execve; a container's first process only by its end.
    const bool container = request_.isolation == wire::TaskIsolation::Container;
    if (!container && !cause_set_ && !error_) on_started({}, static_cast<std::uint32_t>(child_));
  }
}

void Task::on_report(const ChildReport& report, base::UniqueFd pidfd, std::uint32_t pid) {
  switch (report.kind) {
    case ChildReport::Kind::Started: return on_started(std::move(pidfd), pid);
    case ChildReport::Kind::Failed: return on_failed(report);
    case ChildReport::Kind::Exited: return main_ended(report.value);
  }
}

void Task::on_started(base::UniqueFd pidfd, std::uint32_t pid) {
  if (pidfd) pidfd_ = std::move(pidfd);
  if (running_ || abandoned_ || completed_) return;
  running_ = true;
  stream_.meta(wire::encode(wire::Started{pid}));
  const auto ended = [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->maybe_complete();
  };
  stdout_.run(ended);
  stderr_.run(ended);
  for (const int number : early_signals_) sys_pidfd_send_signal(pidfd_.get(), number);
  early_signals_.clear();
}

void Task::on_failed(const ChildReport& report) {
  std::string reason;
  int exit_code = kExitCannotRun;
  const std::string quoted = quote(request_.argv.front());
  switch (report.stage) {
    case ChildStage::Program:
      reason = "cannot run " + quoted;
      if (report.value == ENOENT || report.value == ENOTDIR) exit_code = kExitNotFound;
      break;
    case ChildStage::Interpreter: reason = "cannot run the interpreter of " + quoted; break;
    case ChildStage::WorkingDirectory: reason = "cannot change to directory " + quote(request_.cwd); break;
    default: {
      error_ = base::os_error(std::string("cannot ") + stage_name(report.stage), report.value);
      error_->code = base::Code::GuestFault;
      return kill_tree();
    }
  }
  reason += std::string(": ") + std::strerror(report.value);
  if (!abandoned_ && !cause_set_) {
    stream_.data(wire::kStderr, reason + "\n");
    result_.stderr_total = reason.size() + 1;
  }
  set_cause(EndedBy::Exit, exit_code, 0, reason);
  kill_tree();
}

void Task::on_child_ended(int wait_status) {
  // What it said before it died comes first.
  const std::shared_ptr<Task> alive = self_;
  read_reports();
  reaped_ = true;
  child_ = -1;
  if (!cause_set_ && !error_) main_ended(wait_status);
  check_dead();
}

void Task::main_ended(int wait_status) {
  if (WIFEXITED(wait_status)) {
    set_cause(EndedBy::Exit, WEXITSTATUS(wait_status), 0, {});
  } else {
    const int number = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : SIGKILL;
    // The memory killer is a SIGKILL like others, but the group knows.
    const bool oom = number == SIGKILL && cgroup_ && cgroup_.out_of_memory();
    set_cause(oom ? EndedBy::Oom : EndedBy::Signal, kExitSignalBase + number, number,
              oom ? "out of memory" : "killed by signal " + std::to_string(number));
  }
  kill_tree();
}

void Task::set_cause(EndedBy cause, int exit_code, int signal, std::string reason) {
  if (cause_set_) return;
  cause_set_ = true;
  ended_ns_ = monotonic_ns();
  result_.ended_by = cause;
  result_.exit_code = exit_code;
  result_.signal = signal;
  result_.reason = std::move(reason);
}

void Task::on_timer() {
  std::uint64_t count = 0;
  if (::read(timer_.get(), &count, sizeof(count)) < 0) return;
  const std::shared_ptr<Task> alive = self_;
  if (!killed_) {
    set_cause(EndedBy::Timeout, kExitTimeout, SIGKILL,
              "timed out after " + std::to_string(request_.timeout_ms) + " ms");
    return kill_tree();
  }
  // Killed long ago, and something is still there: the host gets its answer, the group stays until it is empty.
  if (!completed_) {
    if (result_.reason.empty()) result_.reason = "a process of the command cannot be killed";
    tree_dead_ = true;
    stdout_.finish();
    stderr_.finish();
    maybe_complete();
  }
}

void Task::kill_tree() {
  if (!killed_) {
    killed_ = true;
    arm_timer(kDeathGraceMs);
  }
  if (cgroup_) {
    cgroup_.kill();
  } else if (child_ > 0) {
    // Without control groups: a container's tree dies with its first process, of a process task its session's group.
    if (request_.isolation == wire::TaskIsolation::Process) ::kill(-child_, SIGKILL);
    ::kill(child_, SIGKILL);
  }
  check_dead();
}

void Task::check_dead() {
  const std::shared_ptr<Task> alive = self_;
  if (!killed_ || !reaped_ || (cgroup_ && cgroup_.populated())) return;
  if (tree_dead_) {
    if (completed_) release();
    return;
  }
  tree_dead_ = true;
  stdin_.close();
  if (running_) {
    stdout_.finish();
    stderr_.finish();
  }
  maybe_complete();
}

void Task::maybe_complete() {
  if (!tree_dead_ || completed_) return;
  if (!abandoned_ && running_ && (stdout_.open() || stderr_.open())) return;
  complete();
}

void Task::complete() {
  if (completed_) return;
  completed_ = true;
  if (running_) {
    result_.stdout_total = stdout_.total();
    result_.stderr_total = stderr_.total();
  }
  if (started_ns_ != 0) result_.wall_ns = static_cast<std::uint64_t>(ended_ns_ - started_ns_);
  if (cgroup_) {
    const CgroupUsage usage = cgroup_.usage();
    result_.cpu_ns = usage.cpu_ns;
    result_.memory_peak = usage.memory_peak;
  }
  stdout_.close();
  stderr_.close();
  stdin_.close();
  if (!abandoned_) {
    if (error_) {
      stream_.finish(result_of(*error_));
    } else {
      if (!running_) {
        stream_.end(wire::kStdout);
        stream_.end(wire::kStderr);
      }
      stream_.finish({base::Code::Ok, 0, {}, wire::encode(result_)});
    }
  }
  if (started_ns_ == 0 || child_ < 0) release();
}

void Task::release() {
  if (timer_) context_.loop.remove(timer_.get());
  if (report_) context_.loop.remove(report_.get());
  if (cgroup_) context_.loop.remove(cgroup_.events());
  if (!self_) return;
  context_.loop.defer([self = std::exchange(self_, nullptr)]() mutable {
    TaskContext& context = self->context_;
    self.reset();
    if (--context.alive == 0 && context.idle) context.idle();
  });
}

bool Task::data(std::uint8_t channel, std::string_view bytes) {
  if (channel != wire::kStdin || request_.stream_stdin == 0) return false;
  stdin_.data(bytes);
  return true;
}

bool Task::end(std::uint8_t channel) {
  if (channel != wire::kStdin) return false;
  if (request_.stream_stdin != 0) stdin_.end();
  return true;
}

void Task::credit(std::uint8_t channel, std::uint32_t bytes) {
  if (channel == wire::kStdout) stdout_.credit(bytes);
  if (channel == wire::kStderr) stderr_.credit(bytes);
}

void Task::signal(std::uint32_t number) {
  if (number == 0 || number > 64 || cause_set_) return;
  if (running_) {
    sys_pidfd_send_signal(pidfd_.get(), static_cast<int>(number));
  } else if (early_signals_.size() < limits::kEarlySignalsMax) {
    early_signals_.push_back(static_cast<int>(number));
  }
}

void Task::cancel() {
  set_cause(EndedBy::Killed, kExitSignalBase + SIGKILL, SIGKILL, "killed on request");
  if (started_ns_ != 0) kill_tree();
}

void Task::abandon() {
  abandoned_ = true;
  stdout_.close();
  stderr_.close();
  stdin_.close();
  cancel();
}

void Task::backlog_cleared() {
  stdout_.backlog_cleared();
  stderr_.backlog_cleared();
}

}  // namespace sandforge::agent
