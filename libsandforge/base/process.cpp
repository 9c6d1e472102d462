// SPDX-License-Identifier: Apache-2.0
#include "base/process.hpp"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

namespace sandforge::base {
namespace {

constexpr std::size_t kChildStack = 128 * 1024;

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  out.reserve(strings.size() + 1);
  // SAFETY: execve does not write to its arguments; its signature predates const.
  for (const std::string& s : strings) out.push_back(const_cast<char*>(s.c_str()));
  out.push_back(nullptr);
  return out;
}

// All that the child needs, made before the clone: between clone and exec it shares the parent's memory (the parent is
// suspended) and may only make system calls.
struct ChildPlan {
  const SpawnOptions* options;
  char* const* argv;
  char* const* envp;
  int dev_null;
  int first_free;  // above every target descriptor: where sources are parked
  pid_t parent;
  std::string uid_map, gid_map;  // what the child maps in a user namespace that it starts in
  bool maps_ids;
  int* failure;  // errno of what failed, written by the child
};

bool place_descriptors(const ChildPlan& plan) {
  const auto& fds = plan.options->fds;
  // Park all sources above every target first, so that no dup2 below overwrites a source that is still needed.
  int parked[64];
  for (std::size_t i = 0; i < fds.size(); ++i) {
    parked[i] = ::fcntl(fds[i].first, F_DUPFD, plan.first_free);
    if (parked[i] < 0) return false;
  }
  const int null_fd = ::fcntl(plan.dev_null, F_DUPFD, plan.first_free);
  if (null_fd < 0) return false;
  for (int fd = 0; fd < 3; ++fd) {
    if (::dup2(null_fd, fd) < 0) return false;
  }
  for (std::size_t i = 0; i < fds.size(); ++i) {
    if (::dup2(parked[i], fds[i].second) < 0) return false;
  }
  // Everything that was not asked for goes: between the targets and above them.
  int next = 3;
  while (next < plan.first_free) {
    bool wanted = false;
    for (const auto& [ours, theirs] : fds) wanted = wanted || theirs == next;
    if (!wanted) ::close(next);
    ++next;
  }
  return ::syscall(SYS_close_range, static_cast<unsigned>(plan.first_free), ~0u, 0) == 0;
}

// By bare system calls: the C library's functions would change the ids of all threads of this process, whose memory the
// child still shares. All capabilities go with the user id 0.
bool change_ids(const SpawnOptions& options) {
  return ::syscall(SYS_setgroups, options.groups.size(), options.groups.data()) == 0 &&
         ::syscall(SYS_setresgid, options.gid, options.gid, options.gid) == 0 &&
         ::syscall(SYS_setresuid, options.uid, options.uid, options.uid) == 0;
}

// Maps the one id that this process has to itself: without a mapping it could not make another user namespace.
bool map_ids(const ChildPlan& plan) {
  const std::pair<const char*, std::string_view> files[] = {
      {"/proc/self/setgroups", "deny"}, {"/proc/self/uid_map", plan.uid_map}, {"/proc/self/gid_map", plan.gid_map}};
  for (const auto& [file, text] : files) {
    const int fd = ::open(file, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || ::write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) return false;
    ::close(fd);
  }
  return true;
}

int child_main(void* raw) {
  const ChildPlan& plan = *static_cast<const ChildPlan*>(raw);
  const SpawnOptions& options = *plan.options;
  const auto fail = [&]() {
    *plan.failure = errno;
    ::_exit(127);
  };
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) ::sigaction(number, &action, nullptr);

  if (plan.maps_ids && !map_ids(plan)) fail();
  if (options.own_process_group && ::setpgid(0, 0) < 0) fail();
  // Whoever may not make a network namespace may make one in a user namespace of its own, on most systems.
  if (options.empty_network && ::unshare(CLONE_NEWNET) != 0) (void)::unshare(CLONE_NEWUSER | CLONE_NEWNET);
  if (options.no_core) {
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
  }
  if (options.max_open_files != 0) {
    const rlimit files{options.max_open_files, options.max_open_files};
    if (::setrlimit(RLIMIT_NOFILE, &files) < 0) fail();
  }
  ::umask(077);
  if (::chdir(options.cwd.c_str()) < 0) fail();
  if (!place_descriptors(plan)) fail();
  if (options.uid != 0 && !change_ids(options)) fail();
  if (options.no_new_privs && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) fail();
  if (options.die_with_parent) {  // after the change of ids, which clears it
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) fail();
    // The parent ended before the line above? From inside a PID namespace it cannot be seen: the program must notice.
    if (!options.own_pids && ::getppid() != plan.parent) ::_exit(127);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execve(options.program.c_str(), plan.argv, plan.envp);
  fail();
  return 127;
}

// SPEC: clone(2), "struct clone_args". Of our own: older headers lack its last field.
struct CloneArguments {
  std::uint64_t flags = 0, pidfd = 0, child_tid = 0, parent_tid = 0, exit_signal = SIGCHLD, stack = 0, stack_size = 0,
                tls = 0, set_tid = 0, set_tid_size = 0, cgroup = 0;
};
static_assert(sizeof(CloneArguments) == 88);
constexpr std::uint64_t kIntoCgroup = 0x2'0000'0000;

// clone() takes no control group, and the C library has no clone3. As clone(): the child runs child_main on its stack,
// which never returns. -1 with errno ENOSYS where this is not to be had.
pid_t clone_into([[maybe_unused]] CloneArguments& arguments, [[maybe_unused]] ChildPlan& plan) {
#if defined(__x86_64__)
  long result = SYS_clone3;
  int (*run)(void*) = child_main;
  // SAFETY: the child leaves the assembly on another stack and by no other way than the call; the parent's registers
  // are as the clobbers say.
  asm volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "mov %[plan], %%rdi\n\t"
      "call *%[run]\n\t"
      "ud2\n"
      "1:"
      : "+a"(result)
      : "D"(&arguments), "S"(sizeof arguments), [run] "r"(run), [plan] "r"(&plan)
      : "rcx", "r11", "memory");
  if (result >= 0) return static_cast<pid_t>(result);
  errno = static_cast<int>(-result);
#else
  errno = ENOSYS;
#endif
  return -1;
}

bool join_cgroup(int cgroup, pid_t process) {
  const UniqueFd file(::openat(cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC));
  const std::string text = std::to_string(process);
  return file && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

}  // namespace

Child& Child::operator=(Child&& other) noexcept {
  if (this != &other) {
    finish();
    pid_ = std::exchange(other.pid_, 0);
    pidfd_ = std::move(other.pidfd_);
  }
  return *this;
}

Child::~Child() { finish(); }

void Child::finish() noexcept {
  if (pid_ <= 0) return;
  kill();
  reap();
}

void Child::signal(int number) noexcept {
  if (pid_ > 0) ::syscall(SYS_pidfd_send_signal, pidfd_.get(), number, nullptr, 0);
}

int Child::reap() noexcept {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = 0;
  pidfd_.reset();
  return status;
}

Result<Child> spawn(const SpawnOptions& options) {
  if (options.fds.size() > 64) return make_error(Code::InvalidArgument, {}, "more than 64 descriptors for a child");
  const UniqueFd dev_null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!dev_null) return os_error("open /dev/null");

  std::vector<std::string> arguments{options.program};
  arguments.insert(arguments.end(), options.args.begin(), options.args.end());
  const std::vector<char*> argv = pointers(arguments);
  const std::vector<char*> envp = pointers(options.env);

  int failure = 0;
  int highest = 2;
  for (const auto& [ours, theirs] : options.fds) highest = std::max(highest, theirs);
  const auto itself = [](std::uint32_t id) { return std::to_string(id) + " " + std::to_string(id) + " 1"; };
  ChildPlan plan{&options,   argv.data(),         envp.data(),         dev_null.get(), highest + 1,
                 ::getpid(), itself(::geteuid()), itself(::getegid()), false,          &failure};

  void* stack = ::mmap(nullptr, kChildStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) return os_error("map a stack for a child");
  // A signal handler of the host program must not run in the child while it shares our memory.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const int dumpable = ::prctl(PR_GET_DUMPABLE);
  int pidfd = -1;
  // SAFETY: CLONE_VFORK suspends this thread until the child has exec'd or ended, so `plan` and the stack stay valid.
  // Born into its group, where the kernel can (5.7): to move a process into one waits for every CPU of the host.
  bool joins = options.cgroup >= 0;
  const auto start = [&](int flags) {
    constexpr int kFlags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD;
    if (options.cgroup >= 0) {
      CloneArguments birth;
      birth.flags = static_cast<std::uint64_t>(kFlags | flags) | kIntoCgroup;
      birth.pidfd = reinterpret_cast<std::uintptr_t>(&pidfd);
      birth.stack = reinterpret_cast<std::uintptr_t>(stack);
      birth.stack_size = kChildStack;
      birth.cgroup = static_cast<std::uint64_t>(options.cgroup);
      const pid_t born = clone_into(birth, plan);
      joins = born < 0 && (errno == ENOSYS || errno == EINVAL || errno == E2BIG);
      if (!joins) return born;
    }
    return ::clone(child_main, static_cast<char*>(stack) + kChildStack, kFlags | SIGCHLD | flags, &plan, &pidfd);
  };
  pid_t pid = start(options.own_pids ? CLONE_NEWPID : 0);
  if (pid < 0 && options.own_pids && errno == EPERM) {
    // Whoever may not make a PID namespace may make one in a user namespace of its own, on most systems.
    plan.maps_ids = true;
    pid = start(CLONE_NEWPID | CLONE_NEWUSER);
  }
  const int clone_errno = errno;
  // A change of the child's ids takes "dumpable" from the memory that it shared with us: give it back.
  if (dumpable == 1 && ::prctl(PR_GET_DUMPABLE) != 1) ::prctl(PR_SET_DUMPABLE, 1);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::munmap(stack, kChildStack);
  if (pid < 0) return os_error("start " + options.program, clone_errno);

  Child child(pid, UniqueFd(pidfd));  // CLONE_PIDFD descriptors are close-on-exec
  if (failure != 0) {
    child.reap();
    return os_error("start " + options.program, failure);
  }
  if (joins && !join_cgroup(options.cgroup, child.pid())) {
    return os_error("put " + options.program + " into its control group");
  }
  return child;
}

std::string describe_wait_status(int status) {
  if (WIFEXITED(status)) return "exited with status " + std::to_string(WEXITSTATUS(status));
  if (WIFSIGNALED(status)) {
    const int number = WTERMSIG(status);
    const char* name = ::sigdescr_np(number);
    return "killed by signal " + std::to_string(number) + " (" + (name != nullptr ? name : "unknown") + ")";
  }
  return "ended with wait status " + std::to_string(status);
}

std::string find_program(std::string_view name, std::string_view path) {
  const auto executable = [](const std::string& file) {
    struct stat info {};
    return ::stat(file.c_str(), &info) == 0 && S_ISREG(info.st_mode) && ::access(file.c_str(), X_OK) == 0;
  };
  if (name.find('/') != std::string_view::npos) return executable(std::string(name)) ? std::string(name) : "";
  if (path.empty()) {
    const char* own = std::getenv("PATH");
    path = own != nullptr && *own != '\0' ? own : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  }
  while (!path.empty()) {
    const std::size_t end = std::min(path.find(':'), path.size());
    // Relative entries (and empty ones, which mean the current folder) are never searched.
    if (path.starts_with('/')) {
      std::string file = std::string(path.substr(0, end)) + "/" + std::string(name);
      if (executable(file)) return file;
    }
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return {};
}

namespace {

// Splits what comes into lines, ended by \n or \r (progress bars).
class LineSplitter {
 public:
  explicit LineSplitter(const std::function<void(std::string_view)>& sink) : sink_(sink) {}
  void feed(std::string_view bytes) {
    if (!sink_) return;
    for (const char c : bytes) {
      if (c == '\n' || c == '\r') {
        if (!line_.empty()) sink_(line_);
        line_.clear();
      } else if (line_.size() < 4096) {
        line_ += c;
      }
    }
  }
  void finish() { feed("\n"); }

 private:
  const std::function<void(std::string_view)>& sink_;
  std::string line_;
};

void keep(std::string& kept, std::string_view bytes, std::size_t cap) {
  kept.append(bytes.substr(0, cap - std::min(cap, kept.size())));
}

}  // namespace

Result<RunResult> run(SpawnOptions options, const RunOptions& run_options) {
  int in[2], out[2], err[2];
  const auto pipes = {std::pair{in, 0}, std::pair{out, 1}, std::pair{err, 2}};
  std::array<UniqueFd, 3> ours, theirs;
  for (const auto& [ends, target] : pipes) {
    if (::pipe2(ends, O_CLOEXEC) < 0) return os_error("make a pipe");
    const int child_end = target == 0 ? 0 : 1;
    theirs[static_cast<std::size_t>(target)].reset(ends[child_end]);
    ours[static_cast<std::size_t>(target)].reset(ends[1 - child_end]);
    options.fds.emplace_back(ends[child_end], target);
  }
  ::fcntl(ours[0].get(), F_SETFL, O_NONBLOCK);
  SANDFORGE_TRY(Child child, spawn(options));
  for (UniqueFd& fd : theirs) fd.reset();

  RunResult result;
  LineSplitter lines(run_options.on_error_line);
  std::string_view input = run_options.input;
  if (input.empty()) ours[0].reset();
  while (ours[0] || ours[1] || ours[2]) {
    std::array<pollfd, 3> polled{pollfd{ours[0].get(), POLLOUT, 0}, pollfd{ours[1].get(), POLLIN, 0},
                                 pollfd{ours[2].get(), POLLIN, 0}};
    if (::poll(polled.data(), polled.size(), -1) < 0) {
      if (errno == EINTR) continue;
      return os_error("wait for " + options.program);
    }
    if (polled[0].revents != 0) {
      // The child may have closed its end: MSG_NOSIGNAL does not exist for pipes, so SIGPIPE is held back instead.
      sigset_t pipe_signal, before;
      ::sigemptyset(&pipe_signal);
      ::sigaddset(&pipe_signal, SIGPIPE);
      ::pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
      const ssize_t n = ::write(ours[0].get(), input.data(), input.size());
      if (n < 0 && errno == EPIPE) {
        const timespec now{};
        ::sigtimedwait(&pipe_signal, nullptr, &now);
        input = {};
      }
      ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
      if (n > 0) input.remove_prefix(static_cast<std::size_t>(n));
      if (input.empty()) ours[0].reset();
    }
    for (const std::size_t i : {1u, 2u}) {
      if (polled[i].revents == 0) continue;
      std::array<char, 65536> buffer;
      const ssize_t n = ::read(ours[i].get(), buffer.data(), buffer.size());
      if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (n <= 0) {
        ours[i].reset();
        continue;
      }
      const std::string_view bytes(buffer.data(), static_cast<std::size_t>(n));
      keep(i == 1 ? result.out : result.err, bytes, run_options.output_cap);
      if (i == 2) lines.feed(bytes);
    }
  }
  lines.finish();
  result.status = child.reap();
  return result;
}

}  // namespace sandforge::base
