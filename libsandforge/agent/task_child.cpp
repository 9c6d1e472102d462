// SPDX-License-Identifier: Apache-2.0
#include "agent/task_child.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>

#include "agent/capabilities.hpp"
#include "agent/seccomp_filter.hpp"
#include "agent/syscalls.hpp"

namespace sandforge::agent {

namespace {
// Where the child puts its descriptors; everything above is closed.
constexpr int kReport = 3;
constexpr rlim_t kFilesSoft = 65536, kFilesHard = 1048576;

struct Failure {
  ChildStage stage = ChildStage::Setup;
  int error = 0;  // 0: none
};
Failure failed(ChildStage stage, int error = errno) noexcept { return {stage, error}; }

void send_report(ChildReport::Kind kind, Failure failure, int value, pid_t pid = 0, int pidfd = -1) noexcept {
  ChildReport report{kind, failure.stage, kind == ChildReport::Kind::Failed ? failure.error : value};
  iovec part{&report, sizeof(report)};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(ucred))]{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (pidfd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &pidfd, sizeof(int));
    // As credentials, so that the kernel tells the agent the number in its own namespace, even when the process is gone
    // by the time it looks.
    const ucred credentials{pid, ::geteuid(), ::getegid()};
    header = CMSG_NXTHDR(&message, header);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_CREDENTIALS;
    header->cmsg_len = CMSG_LEN(sizeof(ucred));
    std::memcpy(CMSG_DATA(header), &credentials, sizeof(ucred));
  }
  while (::sendmsg(kReport, &message, MSG_NOSIGNAL) < 0 && errno == EINTR) {
  }
}

// Moves the plan's descriptors to 0..3 and closes all others.
Failure arrange_descriptors(const ChildPlan& plan) noexcept {
  const int from[] = {plan.stdin_fd, plan.stdout_fd, plan.stderr_fd, plan.report_fd};
  int high[4];
  for (int i = 0; i < 4; ++i) {
    high[i] = ::fcntl(from[i], F_DUPFD_CLOEXEC, 16);
    if (high[i] < 0) return failed(ChildStage::Setup);
  }
  for (int i = 0; i < 4; ++i) {
    if (::dup3(high[i], i == 3 ? kReport : i, i == 3 ? O_CLOEXEC : 0) < 0 && errno != EINVAL) {
      return failed(ChildStage::Setup);
    }
  }
  if (sys_close_range(kReport + 1, ~0U) != 0) return failed(ChildStage::Setup);
  return {};
}

void reset_oom_score() noexcept {
  const int fd = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  [[maybe_unused]] const auto ignored = ::write(fd, "0", 1);
  ::close(fd);
}

// From the agent's view to the guest's root, for good.
Failure enter_root(const ChildPlan& plan) noexcept {
  if (!plan.container) {
    if (::chdir(plan.root) != 0 || ::chroot(".") != 0) return failed(ChildStage::Root);
    return {};
  }
  // Mounts that the agent makes later reach this task, none of the task's reach the agent.
  if (::mount(nullptr, "/", nullptr, MS_SLAVE | MS_REC, nullptr) != 0) return failed(ChildStage::Root);
  if (::chdir(plan.root) != 0) return failed(ChildStage::Root);
  // The old root lands over the new one and goes away with everything in it.
  if (::syscall(SYS_pivot_root, ".", ".") != 0) return failed(ChildStage::Root);
  if (::umount2(".", MNT_DETACH) != 0 || ::chdir("/") != 0) return failed(ChildStage::Root);
  return {};
}

// Over itself, read-only. What this kernel does not have needs no cover.
int cover_read_only(const char* path) noexcept {
  if (::mount(path, path, nullptr, MS_BIND, nullptr) != 0) return errno == ENOENT ? 0 : errno;
  constexpr unsigned long kFlags = MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
  return ::mount(nullptr, path, nullptr, kFlags, nullptr) == 0 ? 0 : errno;
}

int cover_with_null(const char* path) noexcept {
  return ::mount("/dev/null", path, nullptr, MS_BIND, nullptr) == 0 || errno == ENOENT ? 0 : errno;
}

// The task's own /proc, of its own PID namespace, without the switches of the whole guest: as uid 0 it could set
// kernel.core_pattern to a program that the kernel runs outside every namespace.
Failure mount_views() noexcept {
  constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (::mount("proc", "/proc", "proc", kFlags, nullptr) != 0) return failed(ChildStage::Mounts);
  for (const char* path : {"/proc/sys", "/proc/bus", "/proc/fs", "/proc/irq"}) {
    if (const int error = cover_read_only(path)) return failed(ChildStage::Mounts, error);
  }
  for (const char* path :
       {"/proc/sysrq-trigger", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/kmsg", "/proc/kallsyms"}) {
    if (const int error = cover_with_null(path)) return failed(ChildStage::Mounts, error);
  }
  // Conveniences: software works without them.
  ::mount("mqueue", "/dev/mqueue", "mqueue", kFlags, nullptr);
  ::mount("cgroup2", "/sys/fs/cgroup", "cgroup2", kFlags | MS_RDONLY, nullptr);
  return {};
}

int set_limit(__rlimit_resource resource, rlim_t soft, rlim_t hard) noexcept {
  const rlimit limit{soft, hard};
  return ::setrlimit(resource, &limit);
}

// Raw calls: the C library's versions would try to change the agent's other threads, which are not here.
Failure become_user(const ChildPlan& plan) noexcept {
  if (plan.container) {
    if (const int error = bound_capabilities(kContainerCapabilities)) return failed(ChildStage::Identity, error);
  }
  if (::syscall(SYS_setgroups, plan.group_count, plan.groups) != 0 ||
      ::syscall(SYS_setresgid, plan.gid, plan.gid, plan.gid) != 0 ||
      ::syscall(SYS_setresuid, plan.uid, plan.uid, plan.uid) != 0) {
    return failed(ChildStage::Identity);
  }
  if (plan.container && plan.uid == 0) {
    if (const int error = set_capabilities(kContainerCapabilities)) return failed(ChildStage::Identity, error);
  }
  return {};
}

Failure run_program(const ChildPlan& plan) noexcept {
  int error = ENOENT;
  for (char* const* candidate = plan.candidates; *candidate != nullptr; ++candidate) {
    ::execve(*candidate, plan.argv, plan.env);
    if (errno == ENOENT && ::access(*candidate, F_OK) == 0) return failed(ChildStage::Interpreter, ENOENT);
    // As a shell does: a directory without the program is passed over, one where it may not be run is remembered.
    if (errno == EACCES) {
      error = EACCES;
    } else if (errno != ENOENT && errno != ENOTDIR) {
      return failed(ChildStage::Program);
    }
  }
  return failed(ChildStage::Program, error);
}

// The process that becomes the command. Returns only when that failed.
Failure become_command(const ChildPlan& plan) noexcept {
  if (::setsid() < 0) return failed(ChildStage::Setup);
  ::umask(022);
  ::signal(SIGPIPE, SIG_DFL);
  set_limit(RLIMIT_CORE, 0, RLIM_INFINITY);
  set_limit(RLIMIT_NOFILE, kFilesSoft, kFilesHard);
  if (const Failure failure = become_user(plan); failure.error != 0) return failure;
  if (::chdir(plan.cwd) != 0) return failed(ChildStage::WorkingDirectory);
  if (plan.container) {
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return failed(ChildStage::Filter);
    if (const int error = install_filter(plan.filter)) return failed(ChildStage::Filter, error);
  }
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  return run_program(plan);
}

// Process 1 of the task's PID namespace: starts the command as its child, so that signals have their default actions
// there, collects orphans, and takes the whole namespace with it when the command ends.
[[noreturn]] void run_task_init(const ChildPlan& plan) noexcept {
  int gate[2];
  if (::pipe2(gate, O_CLOEXEC) != 0) {
    send_report(ChildReport::Kind::Failed, failed(ChildStage::Setup), 0);
    ::_exit(1);
  }
  int pidfd = -1;
  clone_args args{};
  args.flags = CLONE_PIDFD;
  args.pidfd = reinterpret_cast<std::uint64_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  const pid_t main = sys_clone3(args);
  if (main == 0) {
    const Failure failure = become_command(plan);
    [[maybe_unused]] const auto ignored = ::write(gate[1], &failure, sizeof(failure));
    ::_exit(127);
  }
  if (main < 0) {
    send_report(ChildReport::Kind::Failed, failed(ChildStage::Setup), 0);
    ::_exit(1);
  }
  // The command's pipes are the command's alone: their end must show when it closes them.
  sys_close_range(0, 2);
  ::close(gate[1]);
  Failure failure;
  ssize_t n = 0;
  while ((n = ::read(gate[0], &failure, sizeof(failure))) < 0 && errno == EINTR) {
  }
  if (n > 0) {
    send_report(ChildReport::Kind::Failed, failure, 0);
    ::_exit(1);
  }
  ::close(gate[0]);
  send_report(ChildReport::Kind::Started, {}, 0, main, pidfd);
  ::close(pidfd);
  int status = 0;
  while (::waitpid(-1, &status, 0) != main) {
  }
  send_report(ChildReport::Kind::Exited, {}, status);
  ::_exit(0);
}
}  // namespace

const char* stage_name(ChildStage stage) noexcept {
  switch (stage) {
    case ChildStage::Setup: return "set up the process";
    case ChildStage::Namespaces: return "make namespaces";
    case ChildStage::Root: return "enter the root";
    case ChildStage::Mounts: return "mount /proc";
    case ChildStage::Identity: return "become the user";
    case ChildStage::WorkingDirectory: return "change the working directory";
    case ChildStage::Filter: return "install the system call filter";
    case ChildStage::Program: return "run the program";
    case ChildStage::Interpreter: return "run the program's interpreter";
  }
  return "start";
}

void run_child(const ChildPlan& plan) noexcept {
  // Nobody in the task may look into this copy of the agent's memory, or at its program by /proc/PID/exe.
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  if (plan.container) ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  Failure failure = arrange_descriptors(plan);
  if (failure.error != 0) ::_exit(126);  // no report descriptor to speak through
  reset_oom_score();
  // Only now: the clone call would have taken the agent's own control group for the root of the namespace.
  if (plan.container && ::unshare(CLONE_NEWCGROUP) != 0) failure = failed(ChildStage::Namespaces);
  if (failure.error == 0) failure = enter_root(plan);
  if (failure.error == 0 && plan.container) {
    failure = mount_views();
    if (failure.error == 0) run_task_init(plan);
  }
  if (failure.error == 0) failure = become_command(plan);
  send_report(ChildReport::Kind::Failed, failure, 0);
  ::_exit(126);
}

}  // namespace sandforge::agent
