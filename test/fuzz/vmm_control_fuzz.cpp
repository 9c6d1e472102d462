// SPDX-License-Identifier: Apache-2.0
// Fuzz target: the monitor's end of the control protocol. The input is cut into packets by a length byte each; every
// well-formed one must be answered exactly once, and nothing else may be said.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string_view>

#include "vmm/monitor/control.hpp"

namespace {

using namespace sandforge;

class Watched final : public vmm::Watcher {
 public:
  base::Status add(int fd, std::uint32_t, Callback callback) override {
    callbacks[fd] = std::move(callback);
    return {};
  }
  base::Status modify(int, std::uint32_t) override { return {}; }
  void remove(int fd) override { callbacks.erase(fd); }
  std::map<int, Callback> callbacks;
};

class Actions final : public vmm::ControlActions {
 public:
  void describe(vmm::ControlAnswer& answer) override { answer.state = state; }
  bool pause() override {
    if (state == vmm::RunState::Pausing) std::abort();
    if (state == vmm::RunState::Paused) return true;
    state = vmm::RunState::Pausing;
    return false;
  }
  void resume() override { state = vmm::RunState::Running; }
  bool set_balloon(std::uint64_t bytes) override { return bytes < 4096; }
  void stop() override { ++stops; }
  vmm::RunState state = vmm::RunState::Running;
  int stops = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) std::abort();
  const base::UniqueFd ours(ends[0]);
  Watched watcher;
  Actions actions;
  vmm::Control control(base::UniqueFd(ends[1]), base::UniqueFd(), actions);
  if (!control.watch(&watcher)) std::abort();
  // SAFETY: bytes seen as characters.
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  for (int packets = 0; !rest.empty() && packets < 64; ++packets) {
    const auto length = static_cast<std::uint8_t>(rest[0]);
    rest.remove_prefix(1);
    const std::string_view packet = rest.substr(0, length);
    rest.remove_prefix(packet.size());
    const auto request = wire::decode<vmm::ControlRequest>(packet);
    (void)!::send(ours.get(), packet.data(), packet.size(), MSG_NOSIGNAL);
    const auto at = watcher.callbacks.find(ends[1]);
    if (at == watcher.callbacks.end()) break;
    const auto callback = at->second;
    callback(EPOLLIN);
    if (actions.state == vmm::RunState::Pausing && packets % 2 == 0) {
      actions.state = vmm::RunState::Paused;
      control.paused();
    }
    std::array<char, 256> buffer;
    ssize_t n = 0;
    while ((n = ::recv(ours.get(), buffer.data(), buffer.size(), MSG_DONTWAIT)) > 0) {
      const auto answer = wire::decode<vmm::ControlAnswer>({buffer.data(), static_cast<std::size_t>(n)});
      if (!answer || !request) std::abort();
    }
    if (!request && actions.stops == 0) std::abort();  // hung up, and nobody else can come
  }
  return 0;
}
