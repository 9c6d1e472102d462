// SPDX-License-Identifier: Apache-2.0
#include "fsd/client.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/helpers.hpp"
#include "base/wait.hpp"
#include "fsd/clone.hpp"
#include "fsd/process/clone_answer.hpp"
#include "fsd/process/passed_descriptor.hpp"

namespace sandforge::fsd {
namespace {

using base::Code;
using base::UniqueFd;
using std::chrono::steady_clock;

constexpr const char* kProgram = "sandforge-fsd";
constexpr std::chrono::seconds kPatience{5};

struct Pair {
  UniqueFd ours, theirs;
};

base::Result<Pair> make_pair(int type) {
  int ends[2];
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) != 0) return base::os_error("make a socket");
  return Pair{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

base::Result<UniqueFd> open_program(const std::filesystem::path& helpers) {
  SANDFORGE_TRY(const std::filesystem::path file, base::find_helper(kProgram, helpers));
  UniqueFd program(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!program) return base::os_error("open " + file.string());
  return program;
}

// For who may not clone mounts: a short-lived process does it in namespaces of its own.
base::Result<UniqueFd> clone_by_helper(const std::filesystem::path& helpers, int directory, bool read_only) {
  SANDFORGE_TRY(const UniqueFd program, open_program(helpers));
  SANDFORGE_TRY(Pair socket, make_pair(SOCK_SEQPACKET));
  base::SpawnOptions spawn;
  spawn.program = "/proc/self/fd/" + std::to_string(kProgramFd);
  spawn.args = {"clone", read_only ? "ro" : "rw"};
  spawn.fds = {{directory, kCloneDirectoryFd}, {socket.theirs.get(), kCloneSocketFd}, {program.get(), kProgramFd}};
  spawn.die_with_parent = true;
  spawn.no_new_privs = true;
  SANDFORGE_TRY(base::Child child, base::spawn(spawn));
  socket.theirs.reset();
  std::array<char, kCloneAnswerBytesMax> buffer;
  PassedDescriptor rights;
  iovec part{buffer.data(), buffer.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  rights.make_room(message);
  if (!base::wait_for(socket.ours.get(), POLLIN, steady_clock::now() + kPatience)) {
    return base::make_error(Code::TimedOut, "clone_silent", "cloning the directory's mount takes too long",
                            "look at the file system of the directory: it does not answer");
  }
  const ssize_t n = ::recvmsg(socket.ours.get(), &message, MSG_CMSG_CLOEXEC);
  if (n <= 0) {
    return base::make_error(Code::Internal, "clone_failed",
                            "the process that clones the mount " + base::describe_wait_status(child.reap()));
  }
  UniqueFd clone = PassedDescriptor::take(message);
  SANDFORGE_TRY(CloneAnswer answer, wire::decode<CloneAnswer>({buffer.data(), static_cast<std::size_t>(n)}));
  if (clone) return clone;
  base::Error error = base::make_error(static_cast<Code>(answer.code < base::kCodeCount ? answer.code : 12u),
                                       answer.reason, answer.message, answer.remedy);
  error.os_errno = static_cast<int>(answer.os_errno);
  return error;
}

base::Error silent() {
  return base::make_error(Code::TimedOut, "fsd_silent", "the file server does not answer",
                          "look whether it is stopped, and at the file systems that it serves");
}

base::Error attach_error(int error) {
  switch (error) {
    case EINVAL: return base::make_error(Code::InvalidArgument, "mount_index", "no such number of a mount");
    case EBUSY: return base::make_error(Code::Conflict, "mount_index_taken", "this number has a mount already");
    case ENOENT: return base::make_error(Code::NotFound, "no_such_mount", "this number has no mount");
    default: return base::os_error("attach the directory", error);
  }
}

}  // namespace

base::Result<Owner> owner_of(int directory) {
  struct stat info {};
  if (::fstat(directory, &info) != 0) return base::os_error("look at the directory");
  return Owner{info.st_uid, info.st_gid};
}

base::Result<FileServer> FileServer::spawn(FsdOptions options) {
  SANDFORGE_TRY(const UniqueFd program, open_program(options.helper_directory));
  SANDFORGE_TRY(Pair control, make_pair(SOCK_SEQPACKET));
  Pair transport;
  if (options.transport) {
    transport.theirs = std::move(options.transport);
  } else {
    SANDFORGE_TRY(transport, make_pair(SOCK_STREAM));
  }
  base::SpawnOptions spawn;
  spawn.program = "/proc/self/fd/" + std::to_string(kProgramFd);
  spawn.fds = {{control.theirs.get(), kControlFd}, {transport.theirs.get(), kTransportFd}, {program.get(), kProgramFd}};
  if (options.log) {
    spawn.fds.emplace_back(options.log.get(), 1);
    spawn.fds.emplace_back(options.log.get(), kLogFd);
  }
  if (options.listener) spawn.fds.emplace_back(options.listener.get(), kControlListenerFd);
  // Not die_with_parent: that would be the end of this thread, and the hang-up of the control socket tells of this
  // process's end.
  spawn.own_pids = true;  // the other namespaces it enters by itself
  spawn.no_new_privs = true;
  Owner owner{::geteuid(), ::getegid()};
  if (owner.uid == 0 && options.uid != 0) {
    spawn.uid = owner.uid = options.uid;
    spawn.gid = owner.gid = options.gid;
  }
  SANDFORGE_TRY(base::Child child, base::spawn(spawn));
  FileServer server(std::move(child), std::move(control.ours), std::move(transport.ours),
                    std::move(options.helper_directory), owner);
  control.theirs.reset();
  auto ready = server.read_answer(steady_clock::now() + kPatience);
  if (ready) return server;
  if (ready.error().code != Code::Disconnected) return std::move(ready).error();
  return base::make_error(
      Code::Denied, "user_namespaces",
      "the file server could not enter its jail: it " + base::describe_wait_status(server.child_.reap()),
      "allow user namespaces: sysctl user.max_user_namespaces=10000 (and "
      "kernel.unprivileged_userns_clone=1 or kernel.apparmor_restrict_unprivileged_userns=0 where "
      "they exist)");
}

FileServer FileServer::adopt(UniqueFd control, std::filesystem::path helper_directory, Owner owner) {
  return FileServer({}, std::move(control), {}, std::move(helper_directory), owner);
}

base::Result<ControlAnswer> FileServer::read_answer(steady_clock::time_point until) {
  if (!base::wait_for(control_.get(), POLLIN, until)) return silent();
  std::array<char, 256> buffer;
  const ssize_t n = ::recv(control_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (n > 0) return wire::decode<ControlAnswer>({buffer.data(), static_cast<std::size_t>(n)});
  return base::make_error(Code::Disconnected, "fsd_gone", "the file server has ended");
}

base::Result<ControlAnswer> FileServer::ask(ControlKind kind, std::uint32_t index, std::uint32_t flags,
                                            int descriptor) {
  ControlRequest request;
  request.kind = static_cast<std::uint16_t>(kind);
  request.id = next_id_++;
  request.index = index;
  request.flags = flags;
  std::string packet = wire::encode(request);
  iovec part{packet.data(), packet.size()};
  PassedDescriptor rights;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (descriptor >= 0) rights.give(message, descriptor);
  if (::sendmsg(control_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT) != static_cast<ssize_t>(packet.size())) {
    return base::make_error(Code::Disconnected, "fsd_gone", "the file server has ended, or does not read");
  }
  const auto until = steady_clock::now() + kPatience;
  do {
    SANDFORGE_TRY(const ControlAnswer answer, read_answer(until));
    // Others: answers to questions that were given up.
    if (answer.kind == request.kind && answer.id == request.id) return answer;
  } while (steady_clock::now() < until);
  return silent();
}

base::Status FileServer::attach(std::uint32_t index, int directory, bool read_only) {
  SANDFORGE_TRY(const Owner owner, owner_of(directory));
  if (::geteuid() == 0 && owner.uid != owner_.uid) {
    return base::make_error(Code::Denied, "mount_owner",
                            "the directory belongs to user " + std::to_string(owner.uid) +
                                ", the other mounts of this sandbox to user " + std::to_string(owner_.uid),
                            "mount directories of one owner only, or run the daemon as that user");
  }
  auto clone = clone_mount(directory, read_only);
  if (!clone && clone.error().os_errno == EPERM) clone = clone_by_helper(helpers_, directory, read_only);
  if (!clone) return std::move(clone).error();
  const std::uint32_t flags = read_only ? kAttachReadOnly : 0;
  SANDFORGE_TRY(const ControlAnswer answer, ask(ControlKind::Attach, index, flags, clone.value().get()));
  return answer.error == 0 ? base::Status() : attach_error(static_cast<int>(answer.error));
}

base::Status FileServer::detach(std::uint32_t index) {
  SANDFORGE_TRY(const ControlAnswer answer, ask(ControlKind::Detach, index, 0, -1));
  return answer.error == 0 ? base::Status() : attach_error(static_cast<int>(answer.error));
}

base::Result<ControlAnswer> FileServer::status() { return ask(ControlKind::Status, 0, 0, -1); }

void FileServer::stop() {
  if (child_) {
    child_.kill();
    child_.reap();
    return;
  }
  (void)ask(ControlKind::Stop, 0, 0, -1);  // answered by the hang-up
}

}  // namespace sandforge::fsd
