// SPDX-License-Identifier: Apache-2.0
// sandforge-fsd: serves the host directories of one sandbox. All it may touch comes as a descriptor
// (process/control.hpp). Two threads: one answers the guest and waits for the host's file systems, one answers the
// owner and waits for nobody.
#include <fcntl.h>
#include <grp.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <string>
#include <thread>

#include "base/limits.hpp"
#include "fsd/clone.hpp"
#include "fsd/process/clone_answer.hpp"
#include "fsd/process/control.hpp"
#include "fsd/process/passed_descriptor.hpp"
#include "fsd/process/seccomp.hpp"
#include "fsd/process/transport.hpp"
#include "fsd/server/server.hpp"
#include "jail/enter.hpp"

namespace {

using namespace sandforge;

// Exit statuses.
constexpr int kEnded = 0, kBadStart = 2, kBadGuest = 3, kInternal = 4;

[[noreturn]] void finish(int status, const std::string& text = {}) {
  if (!text.empty()) {
    const std::string line = "sandforge-fsd: " + text + "\n";
    (void)!::write(fsd::kLogFd, line.data(), line.size());
  }
  // Not exit(): the other thread is running, maybe deep in a stalled file system, and nothing is left to tidy up.
  ::_exit(status);
}

// The rest of a table's budget is for mounts, sockets and what is being passed.
constexpr std::uint64_t kReserved = 16 + limits::kMountsMax;

std::uint64_t descriptor_budget() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur < 2 * kReserved) return kReserved;
  return files.rlim_cur - kReserved;
}

[[noreturn]] void work(fsd::Transport& transport, fsd::Server& server, fsd::Counters& counters) {
  if (const auto confined = jail::confine_thread(fsd::syscall_rules(fsd::ThreadRole::Worker)); !confined) {
    finish(kInternal, confined.error().message);
  }
  const auto publish = [&] {
    counters.inodes.store(server.inodes().inodes(), std::memory_order_relaxed);
    counters.descriptors.store(server.inodes().descriptors(), std::memory_order_relaxed);
    counters.handles.store(server.inodes().handles(), std::memory_order_relaxed);
  };
  for (;;) {
    const auto received = transport.receive();
    if (!received) finish(kBadGuest, received.error().message);
    if (received.value().event == fsd::Transport::Event::Ended) finish(kEnded);
    if (received.value().event == fsd::Transport::Event::Woken) {
      server.sweep();
      publish();
    } else {
      counters.busy.store(true, std::memory_order_relaxed);
      const auto answer = server.serve(received.value().message, transport.reply_space());
      counters.busy.store(false, std::memory_order_relaxed);
      counters.served.fetch_add(1, std::memory_order_relaxed);
      publish();
      if (answer.broken) finish(kBadGuest, "a FUSE message that is none");
      if (!answer.bytes.empty() && !transport.reply(answer.bytes)) finish(kEnded);
    }
  }
}

int clone_for_owner(bool read_only) {
  auto clone = fsd::clone_mount_unprivileged(fsd::kCloneDirectoryFd, read_only);
  fsd::CloneAnswer answer;
  if (!clone) {
    const base::Error& error = clone.error();
    answer = {static_cast<std::uint32_t>(error.code), static_cast<std::uint32_t>(error.os_errno), error.reason,
              error.message, error.remedy};
  }
  std::string packet = wire::encode(answer);
  iovec part{packet.data(), packet.size()};
  fsd::PassedDescriptor rights;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (clone) rights.give(message, clone.value().get());
  return ::sendmsg(fsd::kCloneSocketFd, &message, MSG_NOSIGNAL) > 0 ? kEnded : kInternal;
}

void enter_jail() {
  // Of a root owner: no group but the one it was given. For all others there is nothing that they may drop.
  (void)::setgroups(0, nullptr);
  jail::Options options;
  options.last_descriptor = fsd::kLastFd;
  options.limits = {limits::kFsdOpenFilesMax, limits::kFsdFileBytesMax};
  options.forbid_paths = false;
  options.own_id_is_zero = true;
  if (const auto jailed = jail::enter(options); !jailed) {
    finish(kBadStart, jailed.error().message + "; " + jailed.error().remedy);
  }
  ::close(fsd::kProgramFd);
  ::umask(0);  // the guest's kernel has applied the umask of its task
}

}  // namespace

int main(int count, char** words) {
  (void)std::signal(SIGPIPE, SIG_IGN);
  // A write beyond a limit on file sizes, which the guest can cause, is to be an error of the request.
  (void)std::signal(SIGXFSZ, SIG_IGN);
  if (count == 3 && std::strcmp(words[1], "clone") == 0) return clone_for_owner(std::strcmp(words[2], "ro") == 0);
  if (::fcntl(fsd::kControlFd, F_GETFD) < 0 || ::fcntl(fsd::kTransportFd, F_GETFD) < 0) {
    finish(kBadStart, "this program is started by the Sandforge library, not by hand");
  }
  // Whether descriptor 5 was given at all.
  const bool listens = ::fcntl(fsd::kControlListenerFd, F_GETFD) >= 0;
  enter_jail();
  const base::UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) finish(kBadStart, base::os_error("make an event descriptor").message);
  auto transport = fsd::make_stream_transport(base::UniqueFd(fsd::kTransportFd), wake.get());
  if (!transport) finish(kBadStart, transport.error().message);
  fsd::MountTable mounts;
  fsd::Counters counters;
  auto server = std::make_unique<fsd::Server>(mounts, descriptor_budget());
  std::thread worker([&] { work(*transport.value(), *server, counters); });
  if (const auto limited = jail::forbid_threads(); !limited) finish(kInternal, limited.error().message);
  fsd::Control control(base::UniqueFd(fsd::kControlFd), base::UniqueFd(listens ? fsd::kControlListenerFd : -1),
                       wake.get(), mounts, counters);
  if (const auto confined = jail::confine_thread(fsd::syscall_rules(fsd::ThreadRole::Control)); !confined) {
    finish(kInternal, confined.error().message);
  }
  control.ready();
  control.run();
  finish(kEnded);
}
