// SPDX-License-Identifier: Apache-2.0
#include "backend/process_worker.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <vector>

#include "base/limits.hpp"

namespace sandforge::backend {
namespace {

constexpr std::size_t kLinesShown = 6;

base::Result<base::UniqueFd> open_file(const std::filesystem::path& file, int flags, const char* what) {
  base::UniqueFd fd(::open(file.c_str(), flags | O_CLOEXEC | O_NOCTTY));
  if (!fd) return base::os_error(std::string("open ") + what + " " + file.string());
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return base::os_error(std::string("look at ") + what);
  if (!S_ISREG(info.st_mode)) {
    return base::make_error(base::Code::InvalidArgument, "not_a_file",
                            std::string(what) + " " + file.string() + " is not a regular file");
  }
  return fd;
}

// sun_path has 108 bytes and a state directory's path may be longer: go through the descriptor of the directory.
sockaddr_un address_in(int directory, const char* name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = "/proc/self/fd/" + std::to_string(directory) + "/" + name;
  std::memcpy(address.sun_path, path.c_str(), std::min(path.size(), sizeof(address.sun_path) - 1));
  return address;
}

// All that waits in a non-blocking pipe; its capacity bounds it.
std::string drain(int fd) {
  std::string out;
  std::array<char, 4096> buffer;
  while (out.size() < limits::kGuestLogMax) {
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    out.append(buffer.data(), static_cast<std::size_t>(n));
  }
  return out;
}

std::vector<std::string> printable_lines(std::string_view log) {
  std::vector<std::string> lines(1);
  for (const char c : log) {
    if (c == '\n' || c == '\r') {
      if (!lines.back().empty()) lines.emplace_back();
    } else if (lines.back().size() < limits::kGuestLogTail) {
      lines.back() += c >= ' ' && c <= '~' ? c : '?';
    }
  }
  if (lines.back().empty()) lines.pop_back();
  return lines;
}

}  // namespace

base::Result<LaunchFiles> open_launch_files(const LaunchPlan& plan) {
  LaunchFiles files;
  files.directory.reset(::open(plan.directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!files.directory) return base::os_error("open sandbox directory " + plan.directory.string());
  SANDFORGE_TRY(files.kernel, open_file(plan.kernel, O_RDONLY, "kernel"));
  SANDFORGE_TRY(files.initrd, open_file(plan.initrd, O_RDONLY, "initrd"));
  SANDFORGE_TRY(files.root, open_file(plan.root_image, O_RDONLY, "root image"));
  SANDFORGE_TRY(files.disk, open_file(plan.disk, O_RDWR | O_NOFOLLOW, "private disk"));
  SANDFORGE_TRY(files.agent, listen_in(files.directory.get(), kAgentSocket, SOCK_STREAM));
  int ends[2];
  // Both ends non-blocking: a monitor must never wait for a reader of its words, nor we for a writer.
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return base::os_error("make a pipe for the guest's log");
  files.log_read.reset(ends[0]);
  files.log_write.reset(ends[1]);
  return files;
}

base::Result<base::UniqueFd> listen_in(int directory, const char* name, int type) {
  base::UniqueFd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return base::os_error(std::string("make ") + name);
  const sockaddr_un address = address_in(directory, name);
  (void)::unlinkat(directory, name, 0);  // of a guest that was started here before
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return base::os_error(std::string("bind ") + name);
  }
  if (::listen(fd.get(), 4) != 0) return base::os_error(std::string("listen on ") + name);
  return fd;
}

base::Result<base::UniqueFd> connect_in(int directory, const char* name, int type) {
  base::UniqueFd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return base::os_error(std::string("make a socket to ") + name);
  const sockaddr_un address = address_in(directory, name);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return base::os_error(std::string("connect to ") + name);
  }
  return fd;
}

std::string summarize_log(std::string_view log) {
  const std::vector<std::string> lines = printable_lines(log);
  for (const std::string& line : lines) {
    const std::size_t at = line.find("Kernel panic");
    if (at != std::string::npos) return line.substr(at);
  }
  std::string out;
  const std::size_t first = lines.size() - std::min(lines.size(), kLinesShown);
  for (std::size_t i = first; i < lines.size(); ++i) out += (out.empty() ? "" : " | ") + lines[i];
  return out.size() <= limits::kGuestLogTail ? out : out.substr(out.size() - limits::kGuestLogTail);
}

ProcessWorker::ProcessWorker(base::Child child, base::UniqueFd exited, LaunchFiles& files, std::string name,
                             StatusText status_text)
    : child_(std::move(child)),
      exited_(std::move(exited)),
      directory_(std::move(files.directory)),
      log_(std::move(files.log_read)),
      name_(std::move(name)),
      status_text_(status_text) {}

ProcessWorker::~ProcessWorker() {
  if (child_ || !exited_) return;  // a child ends with its own object
  ProcessWorker::kill();
  pollfd ended{exited_.get(), POLLIN, 0};
  while (::poll(&ended, 1, -1) < 0 && errno == EINTR) {
  }
}

void ProcessWorker::kill() {
  if (exited_) ::syscall(SYS_pidfd_send_signal, exited_.get(), SIGKILL, nullptr, 0);
}

void ProcessWorker::leave() noexcept {
  child_.leave();
  exited_.reset();
}

base::Result<base::UniqueFd> ProcessWorker::connect() {
  return connect_in(directory_.get(), kAgentSocket, SOCK_STREAM);
}

std::string ProcessWorker::describe_exit() {
  if (exit_text_.empty()) {
    pollfd ended{exited_.get(), POLLIN, 0};
    if (exited_ && ::poll(&ended, 1, 0) != 1) return name_ + " is running";
    if (!child_) return exit_text_ = name_ + " ended";
    exit_text_ = name_ + " " + status_text_(child_.reap());
    const std::string said = summarize_log(drain(log_.get()));
    if (!said.empty()) exit_text_ += ": " + said;
  }
  return exit_text_;
}

}  // namespace sandforge::backend
