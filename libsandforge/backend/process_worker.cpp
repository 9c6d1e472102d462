// SPDX-License-Identifier: Apache-2.0
#include "backend/qemu/worker.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "base/limits.hpp"

namespace sandforge::backend {
namespace {

constexpr std::size_t kLinesShown = 6;

// sun_path has 108 bytes and a state directory's path may be longer: go through the descriptor of the directory.
sockaddr_un agent_address(int directory) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = "/proc/self/fd/" + std::to_string(directory) + "/" + kAgentSocket;
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

base::Result<base::UniqueFd> listen_for_agent(int directory) {
  base::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return base::os_error("make the agent's socket");
  const sockaddr_un address = agent_address(directory);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return base::os_error("bind the agent's socket");
  }
  if (::listen(fd.get(), 4) != 0) return base::os_error("listen on the agent's socket");
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

QemuWorker::QemuWorker(base::Child child, base::UniqueFd exited, base::UniqueFd directory, base::UniqueFd log,
                       std::string name)
    : child_(std::move(child)),
      exited_(std::move(exited)),
      directory_(std::move(directory)),
      log_(std::move(log)),
      name_(std::move(name)) {}

QemuWorker::~QemuWorker() = default;

base::Result<base::UniqueFd> QemuWorker::connect() {
  base::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return base::os_error("make a socket to the agent");
  const sockaddr_un address = agent_address(directory_.get());
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return base::os_error("connect to the agent's socket");
  }
  return fd;
}

std::string QemuWorker::describe_exit() {
  if (exit_text_.empty()) {
    pollfd ended{exited_.get(), POLLIN, 0};
    if (child_ && ::poll(&ended, 1, 0) != 1) return name_ + " is running";
    exit_text_ = name_ + " " + base::describe_wait_status(child_.reap());
    const std::string said = summarize_log(drain(log_.get()));
    if (!said.empty()) exit_text_ += ": " + said;
  }
  return exit_text_;
}

}  // namespace sandforge::backend
