// SPDX-License-Identifier: Apache-2.0
// The real program, started and asked as an engine does, with this test in the place of the guest's kernel. Works for
// any user who may make user namespaces.
#include "fsd/client.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <csignal>
#include <fstream>
#include <thread>

#include "base/pseudo_file.hpp"
#include "fsd/bench.hpp"

#if defined(__SANITIZE_ADDRESS__)
#define SANDFORGE_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANDFORGE_SANITIZED 1
#endif
#endif

using namespace sandforge;
using namespace sandforge::fsd;
using namespace sandforge::fsd::test;

namespace {

// A confined program cannot be one that the sanitizers watch: they make system calls of their own.
bool can_run() {
#ifdef SANDFORGE_SANITIZED
  MESSAGE("skipped: the sanitizers need more system calls than the file server may make");
  return false;
#else
  return true;
#endif
}

base::UniqueFd open_directory(const std::filesystem::path& path) {
  return base::UniqueFd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
}

Got exchange(int socket, const Message& message) {
  const std::string bytes = message.bytes();
  REQUIRE(::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
  Got got;
  std::string answer(65536, '\0');
  pollfd polled{socket, POLLIN, 0};
  REQUIRE(::poll(&polled, 1, 5000) == 1);
  const ssize_t n = ::recv(socket, answer.data(), answer.size(), 0);
  if (n < static_cast<ssize_t>(sizeof(fuse_out_header))) {
    got.broken = true;
    return got;
  }
  fuse_out_header header{};
  std::memcpy(&header, answer.data(), sizeof header);
  got.error = -header.error;
  got.body = answer.substr(sizeof header, static_cast<std::size_t>(n) - sizeof header);
  return got;
}

void start(int socket) {
  fuse_init_in in{};
  in.major = 7;
  in.minor = 38;
  REQUIRE(exchange(socket, Message(FUSE_INIT, 0).put(in)).error == 0);
}

int lookup_error(int socket, std::uint64_t parent, const char* name, std::uint64_t* node = nullptr) {
  const Got got = exchange(socket, Message(FUSE_LOOKUP, parent).text(name));
  if (node != nullptr && got.error == 0) *node = got.as<fuse_entry_out>().nodeid;
  return got.error;
}

bool ends(const FileServer& server) {
  pollfd polled{server.pidfd(), POLLIN, 0};
  return ::poll(&polled, 1, 5000) == 1;
}

}  // namespace

TEST_CASE("a file server takes directories, gives them back, and ends when it is told") {
  if (!can_run()) return;
  const TemporaryTree tree;
  tree.write("file", "x");
  auto server = FileServer::spawn({});
  REQUIRE_MESSAGE(server, server.error().message);
  const base::UniqueFd socket = server->take_transport();
  start(socket.get());
  CHECK(lookup_error(socket.get(), FUSE_ROOT_ID, "0") == ENOENT);
  REQUIRE(server->attach(0, open_directory(tree.path()).get(), false));
  CHECK(server->attach(0, open_directory(tree.path()).get(), false).error().reason == "mount_index_taken");
  CHECK(server->attach(64, open_directory(tree.path()).get(), false).error().reason == "mount_index");
  const base::UniqueFd file(::open((tree.path() / "file").c_str(), O_RDONLY | O_CLOEXEC));
  CHECK(server->attach(1, file.get(), false).error().reason == "not_a_directory");
  std::uint64_t root = 0;
  CHECK(lookup_error(socket.get(), FUSE_ROOT_ID, "0", &root) == 0);
  CHECK(lookup_error(socket.get(), root, "file") == 0);
  auto status = server->status();
  REQUIRE(status);
  CHECK(status->mounts == 1);
  CHECK(status->inodes == 2);
  CHECK(server->detach(1).error().reason == "no_such_mount");
  CHECK(server->detach(0));
  CHECK(lookup_error(socket.get(), root, "file") == ESTALE);
  CHECK(server->status()->descriptors == 0);
  server->stop();
}

TEST_CASE("a directory of another owner is refused by a file server of root's") {
  if (!can_run() || ::geteuid() != 0) return;
  const TemporaryTree tree;
  REQUIRE(::chown(tree.path().c_str(), 4711, 4711) == 0);
  auto roots = FileServer::spawn({});
  REQUIRE(roots);
  CHECK(roots->attach(0, open_directory(tree.path()).get(), false).error().reason == "mount_owner");
  FsdOptions options;
  options.uid = options.gid = 4711;
  auto theirs = FileServer::spawn(std::move(options));
  REQUIRE_MESSAGE(theirs, theirs.error().message);
  REQUIRE(theirs->attach(0, open_directory(tree.path()).get(), false));
  const base::UniqueFd socket = theirs->take_transport();
  start(socket.get());
  std::uint64_t root = 0;
  REQUIRE(lookup_error(socket.get(), FUSE_ROOT_ID, "0", &root) == 0);
  const Got made = exchange(socket.get(), Message(FUSE_MKDIR, root).put(fuse_mkdir_in{0755, 0}).text("made"));
  REQUIRE(made.error == 0);
  CHECK(made.as<fuse_entry_out>().attr.uid == 0);
  struct stat info {};
  REQUIRE(::stat((tree.path() / "made").c_str(), &info) == 0);
  CHECK(info.st_uid == 4711);
  CHECK(info.st_gid == 4711);
  CHECK((info.st_mode & 07777) == 0755);
}

TEST_CASE("an owner without privileges serves its directories too, cloned in namespaces of its own") {
  if (!can_run() || ::geteuid() != 0) return;
  const TemporaryTree tree;
  tree.write("file", "x");
  REQUIRE(::chown(tree.path().c_str(), 4711, 4711) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    // As a process that was started by that user: one that changed its ids may not look into its own /proc.
    if (::setgid(4711) != 0 || ::setuid(4711) != 0 || ::prctl(PR_SET_DUMPABLE, 1) != 0) ::_exit(2);
    auto server = FileServer::spawn({});
    if (!server) {
      std::fprintf(stderr, "%s\n", server.error().message.c_str());
      ::_exit(server.error().reason == "user_namespaces" || server.error().code == base::Code::NotFound ? 77 : 3);
    }
    const auto attached = server->attach(0, open_directory(tree.path()).get(), true);
    if (!attached) {
      std::fprintf(stderr, "%s\n", attached.error().message.c_str());
      ::_exit(4);
    }
    const base::UniqueFd socket = server->take_transport();
    start(socket.get());
    std::uint64_t root = 0;
    if (lookup_error(socket.get(), FUSE_ROOT_ID, "0", &root) != 0) ::_exit(5);
    if (lookup_error(socket.get(), root, "file") != 0) ::_exit(6);
    const Got made = exchange(socket.get(), Message(FUSE_MKDIR, root).put(fuse_mkdir_in{0755, 0}).text("made"));
    server->stop();
    ::_exit(made.error == EROFS ? 0 : 7);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) {
    MESSAGE("skipped: this host forbids user namespaces, or keeps the build from other users");
    return;
  }
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("bytes that are no messages end the file server, and so does the end of either connection") {
  if (!can_run()) return;
  for (const int how : {0, 1, 2, 3}) {
    INFO("case ", how);
    auto server = FileServer::spawn({});
    REQUIRE(server);
    base::UniqueFd socket = server->take_transport();
    const std::uint32_t lengths[] = {0, 39, UINT32_MAX};
    if (how < 3) {
      REQUIRE(::send(socket.get(), &lengths[how], 4, MSG_NOSIGNAL) == 4);
    } else {
      socket.reset();
    }
    CHECK(ends(*server));
  }
}

TEST_CASE("a file server outlives the thread that started it, and not the process") {
  if (!can_run()) return;
  base::Result<FileServer> server = base::make_error(base::Code::Internal, {}, "not started");
  std::thread([&] { server = FileServer::spawn({}); }).join();
  REQUIRE(server);
  CHECK(server->status());
  int pipe[2];
  REQUIRE(::pipe2(pipe, O_CLOEXEC) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    auto orphan = FileServer::spawn({});
    const pid_t pid = orphan ? orphan->pid() : 0;
    (void)!::write(pipe[1], &pid, sizeof pid);
    ::raise(SIGKILL);
  }
  pid_t pid = 0;
  REQUIRE(::read(pipe[0], &pid, sizeof pid) == sizeof pid);
  REQUIRE(pid > 0);
  const base::UniqueFd orphan(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  pollfd polled{orphan.get(), POLLIN, 0};
  const bool ended = !orphan || ::poll(&polled, 1, 5000) == 1;  // maybe before it could be looked at
  CHECK(ended);
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST_CASE("a file server has nothing but what it was given") {
  if (!can_run()) return;
  const TemporaryTree tree;
  auto server = FileServer::spawn({});
  REQUIRE(server);
  REQUIRE(server->attach(0, open_directory(tree.path()).get(), false));
  const std::string process = "/proc/" + std::to_string(server->pid());
  const std::string status = "\n" + base::read_pseudo_file(process + "/status", 16384);
  for (const char* line : {"\nCapPrm:\t0000000000000000", "\nCapEff:\t0000000000000000", "\nCapBnd:\t0000000000000000",
                           "\nSeccomp:\t2", "\nNoNewPrivs:\t1", "\nThreads:\t2", "\nUmask:\t0000"}) {
    CHECK_MESSAGE(status.find(line) != std::string::npos, line);
  }
  if (::geteuid() == 0) {
    CHECK(std::filesystem::is_empty(process + "/root"));
    CHECK(base::read_pseudo_file(process + "/environ").empty());
    for (const char* kind : {"user", "mnt", "pid", "ipc", "net", "uts", "cgroup"}) {
      const std::string name = std::string("/ns/") + kind;
      CHECK(std::filesystem::read_symlink("/proc/self" + name) != std::filesystem::read_symlink(process + name));
    }
    std::size_t descriptors = 0;
    for (const auto& entry : std::filesystem::directory_iterator(process + "/fd"))
      descriptors += entry.exists() ? 1 : 1;
    CHECK(descriptors == 7);  // null twice, log, control, transport, wake-up, one mount
  }
}

TEST_CASE("a file server that is stopped is told of as silent, and one that is killed as gone") {
  if (!can_run()) return;
  auto server = FileServer::spawn({});
  REQUIRE(server);
  REQUIRE(::kill(server->pid(), SIGSTOP) == 0);
  CHECK(server->status().error().reason == "fsd_silent");
  REQUIRE(::kill(server->pid(), SIGCONT) == 0);
  const auto again = server->status();
  CHECK_MESSAGE(again, again.error().message);
  REQUIRE(::kill(server->pid(), SIGKILL) == 0);
  CHECK(ends(*server));
  CHECK(server->status().error().reason == "fsd_gone");
}

TEST_CASE("a file server that answers what nobody asked is told of as silent") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
  base::UniqueFd theirs(ends[1]);
  std::thread talker([&] {  // until the other end is closed
    const std::string answer = wire::encode(ControlAnswer{.id = 4711});
    while (::send(theirs.get(), answer.data(), answer.size(), MSG_NOSIGNAL) >= 0) {
    }
  });
  {
    auto server = FileServer::adopt(base::UniqueFd(ends[0]), {}, {});
    CHECK(server.status().error().reason == "fsd_silent");
  }
  talker.join();
}
