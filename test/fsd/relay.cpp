// SPDX-License-Identifier: Apache-2.0
// Mounts what a real sandforge-fsd serves by this machine's own FUSE, in a mount namespace of its own, and runs a
// command there: fsd-relay HELPERS MOUNTPOINT UID:GID DIRECTORY[:ro]... -- COMMAND...   Takes root.
//
// The command finds a stream socket on descriptor 9: a line a request ("attach N DIRECTORY ro|rw", "detach N",
// "status", "pid"), a line an answer. The relay is what an agent in a guest will be: it looks into nothing.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/limits.hpp"
#include "fsd/client.hpp"

namespace {

using namespace sandforge;
using base::UniqueFd;

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "fsd-relay: %s\n", what.c_str());
  std::exit(70);
}

base::Status attach(fsd::FileServer& server, std::uint32_t index, const std::string& path, bool read_only) {
  const UniqueFd directory(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return base::os_error("open " + path);
  return server.attach(index, directory.get(), read_only);
}

void to_server(int fuse, int socket) {
  std::vector<char> buffer(limits::kFsdMessageBytesMax + 64 * 1024);
  for (;;) {
    const ssize_t n = ::read(fuse, buffer.data(), buffer.size());
    if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT)) continue;
    if (n <= 0) break;  // unmounted
    ssize_t sent = 0;
    while (sent < n) {
      const ssize_t one = ::send(socket, buffer.data() + sent, static_cast<std::size_t>(n - sent), MSG_NOSIGNAL);
      if (one <= 0) break;
      sent += one;
    }
    if (sent < n) break;
  }
}

bool read_all(int socket, char* to, std::size_t size) {
  while (size > 0) {
    const ssize_t n = ::recv(socket, to, size, 0);
    if (n <= 0) return false;
    to += n;
    size -= static_cast<std::size_t>(n);
  }
  return true;
}

void to_kernel(int socket, int fuse, const std::string& connection) {
  std::vector<char> buffer(limits::kFsdReplyBytesMax);
  std::uint32_t length = 0;
  while (read_all(socket, buffer.data(), sizeof length)) {
    std::memcpy(&length, buffer.data(), sizeof length);
    if (length < 16 || length > buffer.size()) fail("an answer of an impossible length");
    if (!read_all(socket, buffer.data() + sizeof length, length - sizeof length)) break;
    // ENOENT: whoever asked was interrupted.
    if (::write(fuse, buffer.data(), length) < 0 && errno != ENOENT) break;
  }
  // The server has ended: nobody may wait for it for ever. An agent does the same.
  const UniqueFd abort(::open((connection + "/abort").c_str(), O_WRONLY | O_CLOEXEC));
  if (abort) (void)!::write(abort.get(), "1", 1);
}

std::string serve(fsd::FileServer& server, const std::string& line) {
  std::istringstream words(line);
  std::string verb, path, mode;
  std::uint32_t index = 0;
  words >> verb >> index >> path >> mode;
  const auto say = [](const base::Status& status) {
    return status ? std::string("ok") : status.error().reason + ": " + status.error().message;
  };
  if (verb == "attach") return say(attach(server, index, path, mode == "ro"));
  if (verb == "detach") return say(server.detach(index));
  if (verb == "pid") return std::to_string(server.pid());
  if (verb != "status") return "unknown";
  const auto answer = server.status();
  if (!answer) return answer.error().reason;
  const fsd::ControlAnswer& a = answer.value();
  return "mounts=" + std::to_string(a.mounts) + " inodes=" + std::to_string(a.inodes) +
         " descriptors=" + std::to_string(a.descriptors) + " handles=" + std::to_string(a.handles) +
         " served=" + std::to_string(a.served) + " busy=" + std::to_string(a.busy);
}

void serve_command(int socket, fsd::FileServer& server) {
  std::string line;
  char c = 0;
  while (::recv(socket, &c, 1, 0) == 1) {
    if (c != '\n') {
      line += c;
      continue;
    }
    const std::string answer = serve(server, line) + "\n";
    (void)::send(socket, answer.data(), answer.size(), MSG_NOSIGNAL);
    line.clear();
  }
}

}  // namespace

int main(int count, char** words) {
  if (count < 7) fail("fsd-relay HELPERS MOUNTPOINT UID:GID DIRECTORY[:ro]... -- COMMAND...");
  if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    fail("a mount namespace takes root");
  }
  fsd::FsdOptions options;
  options.helper_directory = words[1];
  const std::string mountpoint = words[2];
  std::sscanf(words[3], "%u:%u", &options.uid, &options.gid);
  options.log = UniqueFd(::fcntl(2, F_DUPFD_CLOEXEC, 3));
  auto server = fsd::FileServer::spawn(std::move(options));
  if (!server) fail(server.error().message);
  int at = 4;
  for (std::uint32_t index = 0; at < count && std::strcmp(words[at], "--") != 0; ++at, ++index) {
    std::string path = words[at];
    const bool read_only = path.ends_with(":ro");
    if (read_only) path.resize(path.size() - 3);
    if (const auto done = attach(server.value(), index, path, read_only); !done) fail(done.error().message);
  }
  const UniqueFd socket = server.value().take_transport();
  const UniqueFd fuse(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!fuse) fail("open /dev/fuse");
  const std::string data = "fd=" + std::to_string(fuse.get()) +
                           ",rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other,max_read=1048576";
  if (::mount("sandforge", mountpoint.c_str(), "fuse", MS_NOSUID | MS_NODEV, data.c_str()) != 0) fail("mount fuse");
  (void)::mount("none", "/sys/fs/fuse/connections", "fusectl", 0, nullptr);
  // INIT must be answered before anybody looks at the mount, so the pumps run first.
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) fail("make a socket");
  std::thread requests(to_server, fuse.get(), socket.get());
  std::thread commands(serve_command, ends[0], std::ref(server.value()));
  std::string connection = "/sys/fs/fuse/connections/";
  std::thread answers([&] {
    // The device number of a mount is also the number of its connection, and no request is needed to know it.
    FILE* mounts = std::fopen("/proc/self/mountinfo", "re");
    char line[4096];
    while (mounts != nullptr && std::fgets(line, sizeof line, mounts) != nullptr) {
      unsigned major = 0, minor = 0;
      if (std::strstr(line, (" " + mountpoint + " ").c_str()) != nullptr &&
          std::sscanf(line, "%*d %*d %u:%u", &major, &minor) == 2) {
        connection += std::to_string(minor);
      }
    }
    if (mounts != nullptr) std::fclose(mounts);
    to_kernel(socket.get(), fuse.get(), connection);
  });
  base::SpawnOptions command;
  command.program = words[at + 1];
  for (int i = at + 2; i < count; ++i) command.args.emplace_back(words[i]);
  for (char** one = environ; *one != nullptr; ++one) command.env.emplace_back(*one);
  command.fds = {{0, 0}, {1, 1}, {2, 2}, {ends[1], 9}};
  command.own_process_group = false;
  auto child = base::spawn(command);
  if (!child) fail(child.error().message);
  const int status = child.value().reap();
  (void)::umount2(mountpoint.c_str(), MNT_DETACH);
  server.value().stop();
  std::fflush(nullptr);
  ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 71);
}
