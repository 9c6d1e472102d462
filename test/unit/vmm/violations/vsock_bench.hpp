// SPDX-License-Identifier: Apache-2.0
// A vsock device on a bench, with the host's listening socket and the packets that go over it.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <deque>
#include <string>

#include "base/unique_fd.hpp"
#include "vmm/devices/vsock.hpp"
#include "vmm/violations/bench.hpp"

namespace sandforge::vmm::test {

namespace vsock {
struct [[gnu::packed]] Packet {
  std::uint64_t source_cid = 3, target_cid = 2;
  std::uint32_t source_port = 77, target_port = 1024;
  std::uint32_t length = 0;
  std::uint16_t type = 1, operation = 0;
  std::uint32_t flags = 0, buffer_bytes = 256 * 1024, forwarded = 0;
};
static_assert(sizeof(Packet) == 44);
inline constexpr std::uint16_t kRequest = 1, kResponse = 2, kReset = 3, kShutdown = 4, kData = 5, kCreditUpdate = 6,
                               kCreditRequest = 7;
inline constexpr std::uint32_t kToGuest = 0, kFromGuest = 1, kEvents = 2;

inline Packet make(std::uint16_t operation, std::uint32_t port = 77) {
  Packet packet;
  packet.operation = operation;
  packet.source_port = port;
  return packet;
}
}  // namespace vsock

class VsockBench : public Bench {
 public:
  VsockBench() : Bench(3) {}

  // A connection of the host, who waits in the listener for a stream.
  base::UniqueFd connect() {
    base::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    // SAFETY: the interface of connect.
    REQUIRE(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address_), address_bytes_) == 0);
    return fd;
  }
  void buffers(int count, std::uint32_t bytes = 1024) {
    for (int i = 0; i < count; ++i) driver.offer(vsock::kToGuest, {}, bytes);
    kick(vsock::kToGuest);
  }
  // A packet as it is: its length field is what it says.
  void send(const vsock::Packet& packet, const std::string& content = {}) {
    put(packet, content);
    kick(vsock::kFromGuest);
  }
  void put(const vsock::Packet& packet, const std::string& content = {}) {
    // SAFETY: any bytes may be looked at as char.
    driver.offer(vsock::kFromGuest, std::string(reinterpret_cast<const char*>(&packet), sizeof packet) + content, 0);
  }
  void send_data(const std::string& content, std::uint32_t port = 77) {
    vsock::Packet packet = vsock::make(vsock::kData, port);
    packet.length = static_cast<std::uint32_t>(content.size());
    send(packet, content);
  }
  // The packets that came since the last call; the payload of all in `payload`.
  std::deque<vsock::Packet> receive() {
    std::deque<vsock::Packet> out;
    payload.clear();
    for (const std::string& bytes : driver.used(vsock::kToGuest)) {
      vsock::Packet packet;
      REQUIRE(bytes.size() >= sizeof packet);
      std::memcpy(&packet, bytes.data(), sizeof packet);
      CHECK(bytes.size() - sizeof packet == std::size_t{packet.length});
      payload += bytes.substr(sizeof packet);
      out.push_back(packet);
    }
    return out;
  }
  // The operation of the one packet that came, 0 when none or more did.
  int answer() {
    const auto packets = receive();
    return packets.size() == 1 ? int{packets.front().operation} : 0;
  }
  // An open stream: the host's end of it.
  base::UniqueFd open(std::uint32_t port = 77, int count = 20) {
    base::UniqueFd host = connect();
    buffers(count);
    send(vsock::make(vsock::kRequest, port));
    CHECK(answer() == vsock::kResponse);
    return host;
  }
  static std::string read_all(const base::UniqueFd& fd) {
    std::string out, part(1 << 20, '\0');
    for (ssize_t n = 0; (n = ::recv(fd.get(), part.data(), part.size(), MSG_DONTWAIT)) > 0;) {
      out.append(part, 0, static_cast<std::size_t>(n));
    }
    return out;
  }
  static bool at_end(const base::UniqueFd& fd) {
    char byte = 0;
    const ssize_t n = ::recv(fd.get(), &byte, 1, MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno == ECONNRESET);
  }
  void use() override {
    drain_listener();
    const base::UniqueFd host = open(4000);
    send_data("ping", 4000);
    CHECK(read_all(host) == "ping");
    REQUIRE(::send(host.get(), "pong", 4, MSG_NOSIGNAL) == 4);
    settle();
    CHECK(answer() == vsock::kData);
    CHECK(payload == "pong");
  }
  // The queue to the guest is only looked into when there is something to say.
  void look(std::uint32_t queue) override {
    if (queue != vsock::kToGuest) return kick(queue);
    send(vsock::make(vsock::kData, 9));  // of no stream: answered by a reset
  }
  // Connections that nobody asked for would be joined with the next stream.
  void drain_listener() {
    while (base::UniqueFd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC))) {
    }
  }

  std::string payload;
  int listener = -1;  // the device's, borrowed

 protected:
  std::unique_ptr<Device> make() override {
    base::UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    address_.sun_family = AF_UNIX;                           // an abstract address that the kernel chooses
    auto* address = reinterpret_cast<sockaddr*>(&address_);  // SAFETY: the interface of bind
    REQUIRE(::bind(socket.get(), address, sizeof(sa_family_t)) == 0);
    address_bytes_ = sizeof address_;
    REQUIRE(::getsockname(socket.get(), address, &address_bytes_) == 0);
    REQUIRE(::listen(socket.get(), 64) == 0);
    listener = socket.get();
    return std::make_unique<Vsock>(VsockOptions{std::move(socket), 1024, 3}, watcher);
  }

 private:
  sockaddr_un address_{};
  socklen_t address_bytes_ = 0;
};

// Rows, by their most common shapes.
class VsockRows {
 public:
  explicit VsockRows(Rows<VsockBench>& rows) : rows_(rows) {}
  void operator()(std::string name, std::function<void(VsockBench&)> run) {
    rows_.push_back({std::move(name), std::move(run)});
  }
  // A packet on an open stream, and the one operation that it is answered by (0: none). `lives`: the stream does.
  void packet(std::string name, vsock::Packet packet, int answer, bool lives, std::string content = {}) {
    (*this)(std::move(name), [=](VsockBench& bench) {
      const base::UniqueFd host = bench.open();
      bench.send(packet, content);
      CHECK(bench.answer() == answer);
      CHECK_FALSE(bench.broken());
      CHECK(VsockBench::at_end(host) != lives);
      if (lives) {
        bench.send_data("still");
        CHECK(VsockBench::read_all(host) == "still");
      }
    });
  }
  // A packet without a stream.
  void stray(std::string name, vsock::Packet packet, int answer) {
    (*this)(std::move(name), [=](VsockBench& bench) {
      bench.buffers(10);
      bench.send(packet);
      CHECK(bench.answer() == answer);
      CHECK_FALSE(bench.broken());
    });
  }

 private:
  Rows<VsockBench>& rows_;
};

// The part of the table that is about streams and those at their ends.
void add_vsock_streams(VsockRows add);

}  // namespace sandforge::vmm::test
