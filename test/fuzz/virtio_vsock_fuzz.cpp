// SPDX-License-Identifier: Apache-2.0
// Fuzz target: virtio-vsock between a hostile guest and a host that comes, goes, floods and stalls. Every turn ends,
// what reaches the guest is well formed, and a reset leaves nothing behind.
#include <sys/socket.h>
#include <sys/un.h>

#include "device_script.hpp"
#include "vmm/devices/poll_watcher.hpp"
#include "vmm/devices/vsock.hpp"

namespace {

using namespace sandforge;
using namespace sandforge::vmm;
using namespace sandforge::vmm::test;

struct [[gnu::packed]] Packet {
  std::uint64_t source_cid = 3, target_cid = 2;
  std::uint32_t source_port = 0, target_port = 1024;
  std::uint32_t length = 0;
  std::uint16_t type = 1, operation = 0;
  std::uint32_t flags = 0, buffer_bytes = 0, forwarded = 0;
};
static_assert(sizeof(Packet) == 44);

class Host {
 public:
  Host() : listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    address_.sun_family = AF_UNIX;                           // an abstract address that the kernel chooses
    auto* address = reinterpret_cast<sockaddr*>(&address_);  // SAFETY: the interface of bind
    must(::bind(listener.get(), address, sizeof(sa_family_t)) == 0);
    address_bytes_ = sizeof address_;
    must(::getsockname(listener.get(), address, &address_bytes_) == 0 && ::listen(listener.get(), 8) == 0);
  }
  void act(ScriptReader& in) {
    const std::uint32_t which = in.below(8);
    base::UniqueFd& end = ends_[which];
    switch (in.below(6)) {
      case 0:
        end.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        // SAFETY: the interface of connect. A full backlog is an outcome like another.
        (void)::connect(end.get(), reinterpret_cast<const sockaddr*>(&address_), address_bytes_);
        break;
      case 1: end.reset(); break;
      case 2: {
        const std::string bytes(in.take<std::uint16_t>(), 'h');
        if (end) (void)::send(end.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        break;
      }
      case 3: {
        char sink[4096];
        if (end) (void)::recv(end.get(), sink, 1 + in.take<std::uint16_t>() % sizeof sink, MSG_DONTWAIT);
        break;
      }
      case 4:
        if (end) ::shutdown(end.get(), static_cast<int>(in.below(3)));
        break;
      default: break;
    }
  }
  base::UniqueFd listener;

 private:
  sockaddr_un address_{};
  socklen_t address_bytes_ = 0;
  std::array<base::UniqueFd, 8> ends_;
};

Packet packet_of(ScriptReader& in) {
  Packet packet;
  const std::uint32_t odd = in.take<std::uint8_t>();
  packet.operation = static_cast<std::uint16_t>(odd % 32 == 31 ? in.take<std::uint16_t>() : in.below(9));
  packet.source_port = 100 + in.below(20);
  packet.buffer_bytes = in.below(4) == 0 ? in.take<std::uint32_t>() : 1u << 18;
  packet.forwarded = in.below(4) == 0 ? in.take<std::uint32_t>() : 0;
  packet.flags = in.below(5);
  if (odd == 0) packet.source_cid = in.take<std::uint64_t>();
  if (odd == 1) packet.target_cid = in.take<std::uint64_t>();
  if (odd == 2) packet.target_port = in.take<std::uint32_t>();
  if (odd == 3) packet.type = in.take<std::uint16_t>();
  return packet;
}

class Game {
 public:
  Game(const std::uint8_t* data, std::size_t size) : in_(data, size), scripted_(make()) {}

  void play() {
    must(scripted_.driver.start(scripted_.transport));
    while (!in_.done()) {
      const std::uint32_t what = in_.below(24);
      if (what < ScriptedDevice::kSteps) {
        // Raw steps lay chains that the reader of answers below cannot follow.
        scripted_.step(what, in_);
        honest_ = false;
      } else if (what < 14) {
        send();
      } else if (what < 17) {
        offer();
      } else if (what < 22) {
        host_.act(in_);
        turns(1 + in_.below(4));
      } else {
        restart();
      }
      read_answers();
    }
    // Whatever happened: without guest or host doing anything, there is an end.
    int quiet = 0;
    while (quiet < 5000 && watcher_.poll() > 0) scripted_.run_again(), ++quiet;
    must(quiet < 5000);
    restart();
  }

 private:
  std::unique_ptr<Device> make() {
    return std::make_unique<Vsock>(VsockOptions{std::move(host_.listener), 1024, 3}, watcher_);
  }
  void turns(std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i) watcher_.poll(), scripted_.run_again();
    must(watcher_.size() <= 17);  // 16 streams and the listener
  }
  void send() {
    Packet packet = packet_of(in_);
    const std::string content(packet.operation == 5 ? in_.take<std::uint16_t>() % 5000 : 0, 'g');
    packet.length = static_cast<std::uint32_t>(content.size());
    if (in_.below(32) == 31) packet.length = in_.take<std::uint32_t>();
    // SAFETY: any bytes may be looked at as char.
    if (room_in(1))
      scripted_.driver.offer(1, std::string(reinterpret_cast<const char*>(&packet), sizeof packet) + content, 0);
    scripted_.kick(1);
  }
  // A descriptor is used again only when it was given back: or an answer could not be read.
  bool room_in(std::size_t queue) const {
    const FakeDriver& driver = scripted_.driver;
    return static_cast<std::uint16_t>(driver.available_index(queue) - driver.used_index(queue)) < 50;
  }
  void offer() {
    const std::uint32_t room = in_.below(4) == 0 ? in_.take<std::uint8_t>() : 1000u;
    for (std::uint32_t i = in_.below(8); i > 0 && room_in(0); --i) scripted_.driver.offer(0, {}, room);
    scripted_.kick(0);
  }
  void restart() {
    FakeDriver::write_register(scripted_.transport, reg::kStatus, 0);
    must(watcher_.size() == 0);
    must(scripted_.driver.start(scripted_.transport));
    honest_ = true;
  }
  void read_answers() {
    if (!honest_ || scripted_.transport.needs_reset()) return;
    for (const std::string& bytes : scripted_.driver.used(0)) {
      Packet packet;
      must(bytes.size() >= sizeof packet);
      std::memcpy(&packet, bytes.data(), sizeof packet);
      must(packet.length == bytes.size() - sizeof packet);
      must(packet.target_cid == 3 && packet.operation >= 2 && packet.operation <= 6);
      must(packet.operation == 5 || packet.length == 0);
    }
  }

  ScriptReader in_;
  Host host_;
  PollWatcher watcher_;
  bool honest_ = true;
  ScriptedDevice scripted_;  // last: it uses the watcher until its end
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Game(data, size).play();
  return 0;
}
