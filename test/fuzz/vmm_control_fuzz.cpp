// SPDX-License-Identifier: Apache-2.0
// Fuzz target: the monitor's end of the control protocol. Each step starts with a byte: its low bits are the length of
// a packet, its top bit the connection; 0xc0 to 0xc3 connect, leave, and complete a pause. Bit 6 of the first step
// tells whether there is a listener.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <optional>
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

// The two ends that an owner may have, and what came over each.
class Play {
 public:
  explicit Play(bool listens) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) std::abort();
    owner_.reset(ends[0]);
    base::UniqueFd listener;
    if (listens) {
      listener.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      const sa_family_t family = AF_UNIX;  // bind without a name: the kernel gives it one
      size_ = sizeof address_;
      // SAFETY: as the socket interface wants it.
      if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&family), sizeof family) != 0 ||
          ::listen(listener.get(), 4) != 0 ||
          ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address_), &size_) != 0) {
        std::abort();
      }
      listener_ = listener.get();
    }
    control_.emplace(base::UniqueFd(ends[1]), std::move(listener), actions_);
    if (!control_->watch(&watcher_)) std::abort();
  }
  bool listens() const { return listener_ >= 0; }

  void connect() {
    if (!listens()) return;
    successor_.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    // SAFETY: as the socket interface wants it.
    (void)::connect(successor_.get(), reinterpret_cast<const sockaddr*>(&address_), size_);
    tell(listener_);
  }
  void leave(bool successor) {
    (successor ? successor_ : owner_).reset();
    tell_all();
  }
  void complete_pause() {
    if (actions_.state != vmm::RunState::Pausing) return;
    actions_.state = vmm::RunState::Paused;
    control_->paused();
  }
  void say(bool successor, std::string_view packet) {
    const base::UniqueFd& mine = successor ? successor_ : owner_;
    if (!mine) return;
    const auto request = wire::decode<vmm::ControlRequest>(packet);
    (void)!::send(mine.get(), packet.data(), packet.size(), MSG_NOSIGNAL);
    tell_all();
    std::array<char, 256> buffer;
    ssize_t n = 0;
    while ((n = ::recv(mine.get(), buffer.data(), buffer.size(), MSG_DONTWAIT)) > 0) {
      if (!wire::decode<vmm::ControlAnswer>({buffer.data(), static_cast<std::size_t>(n)})) std::abort();
    }
    if (!request && !listens() && actions_.stops == 0) std::abort();         // hung up, and nobody else can come
    if (listens() && actions_.stops > asked_to_stop(request)) std::abort();  // a hang-up ends nothing then
  }

 private:
  int asked_to_stop(const base::Result<vmm::ControlRequest>& request) {
    if (request && static_cast<vmm::ControlKind>(request.value().kind) == vmm::ControlKind::Stop) ++stops_asked_;
    return stops_asked_;
  }
  void tell(int fd) {
    const auto at = watcher_.callbacks.find(fd);
    if (at == watcher_.callbacks.end()) return;
    const auto callback = at->second;
    callback(EPOLLIN);
  }
  void tell_all() {
    const auto now = watcher_.callbacks;
    for (const auto& [fd, callback] : now) tell(fd);
  }

  Watched watcher_;
  Actions actions_;
  base::UniqueFd owner_, successor_;
  int listener_ = -1, stops_asked_ = 0;
  sockaddr_un address_{};
  socklen_t size_ = 0;
  std::optional<vmm::Control> control_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // SAFETY: bytes seen as characters.
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  Play play(!rest.empty() && (rest[0] & 0x40) != 0);
  for (int packets = 0; !rest.empty() && packets < 64; ++packets) {
    const auto what = static_cast<std::uint8_t>(rest[0]);
    rest.remove_prefix(1);
    switch (what) {
      case 0xc0: play.connect(); continue;
      case 0xc1: play.leave(true); continue;
      case 0xc2: play.leave(false); continue;
      case 0xc3: play.complete_pause(); continue;
      default: break;
    }
    const std::string_view packet = rest.substr(0, what & 0x3f);
    rest.remove_prefix(packet.size());
    play.say((what & 0x80) != 0, packet);
  }
  return 0;
}
