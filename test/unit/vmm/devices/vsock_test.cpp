// SPDX-License-Identifier: Apache-2.0
#include "vmm/devices/vsock.hpp"

#include <doctest/doctest.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <map>

#include "vmm/devices/fake_driver.hpp"

using namespace sandforge;

namespace {

struct [[gnu::packed]] Packet {
  std::uint64_t source_cid = 3, target_cid = 2;
  std::uint32_t source_port = 77, target_port = 1024;
  std::uint32_t length = 0;
  std::uint16_t type = 1, operation = 0;
  std::uint32_t flags = 0, buffer_bytes = 4096, forwarded = 0;
};
static_assert(sizeof(Packet) == 44);
constexpr std::uint16_t kRequest = 1, kResponse = 2, kReset = 3, kShutdown = 4, kData = 5, kCreditUpdate = 6,
                        kCreditRequest = 7;

// Runs callbacks when told to.
struct FakeWatcher final : vmm::Watcher {
  struct Entry {
    std::uint32_t events;
    Callback callback;
  };
  std::map<int, Entry> entries;
  base::Status add(int fd, std::uint32_t events, Callback callback) override {
    CHECK(entries.count(fd) == 0);
    entries[fd] = {events, std::move(callback)};
    return {};
  }
  base::Status modify(int fd, std::uint32_t events) override {
    REQUIRE(entries.count(fd) == 1);
    entries[fd].events = events;
    return {};
  }
  void remove(int fd) override { entries.erase(fd); }
  // What epoll would say, once for each descriptor.
  void poll() {
    const auto now = entries;
    for (const auto& [fd, entry] : now) {
      if (entries.count(fd) == 1) entry.callback(entry.events);
    }
  }
};

class Fixture {
 public:
  explicit Fixture(std::uint64_t guest_ports = std::uint64_t{1} << 32) {
    base::UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    address_.sun_family = AF_UNIX;  // an abstract address that the kernel chooses
    REQUIRE(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address_), sizeof(sa_family_t)) == 0);
    size_ = sizeof address_;
    REQUIRE(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address_), &size_) == 0);
    REQUIRE(::listen(listener.get(), 16) == 0);
    device = std::make_unique<vmm::Vsock>(vmm::VsockOptions{std::move(listener), 1024, 3, guest_ports}, watcher);
    REQUIRE(device->activate(driver.activation()));
  }

  base::UniqueFd connect() {
    base::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    REQUIRE(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address_), size_) == 0);
    return fd;
  }
  void buffers(int count, std::uint32_t bytes = 1024) {
    for (int i = 0; i < count; ++i) driver.offer(0, {}, bytes);
    CHECK(device->kick(0));
  }
  base::Status send(const Packet& packet, const std::string& content = {}) {
    driver.offer(1, std::string(reinterpret_cast<const char*>(&packet), sizeof packet) + content, 0);
    return device->kick(1);
  }
  Packet make(std::uint16_t operation, std::uint32_t length = 0) {
    Packet packet;
    packet.operation = operation;
    packet.length = length;
    return packet;
  }
  // The next packet to the guest; its payload in `payload`.
  Packet receive() {
    for (auto& bytes : driver.used(0)) received.push_back(std::move(bytes));
    REQUIRE_FALSE(received.empty());
    Packet packet;
    REQUIRE(received.front().size() >= sizeof packet);
    std::memcpy(&packet, received.front().data(), sizeof packet);
    payload = received.front().substr(sizeof packet);
    received.pop_front();
    CHECK(payload.size() == std::size_t{packet.length});
    return packet;
  }
  bool quiet() {
    for (auto& bytes : driver.used(0)) received.push_back(std::move(bytes));
    return received.empty();
  }
  base::UniqueFd open() {
    base::UniqueFd host = connect();
    buffers(20);
    CHECK(send(make(kRequest)));
    CHECK(+receive().operation == +kResponse);
    return host;
  }

  vmm::test::FakeDriver driver{3};
  FakeWatcher watcher;
  std::unique_ptr<vmm::Vsock> device;
  std::deque<std::string> received;
  std::string payload;

 private:
  sockaddr_un address_{};
  socklen_t size_ = 0;
};

std::string read_all(const base::UniqueFd& fd) {
  std::string out(1 << 20, '\0');
  const ssize_t n = ::recv(fd.get(), out.data(), out.size(), MSG_DONTWAIT);
  out.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return out;
}

}  // namespace

TEST_CASE_FIXTURE(Fixture, "a guest's stream opens when the host connects, whoever comes first") {
  buffers(4);
  SUBCASE("the host") {
    const base::UniqueFd host = connect();
    CHECK(send(make(kRequest)));
    CHECK(+receive().operation == +kResponse);
  }
  SUBCASE("the guest") {
    CHECK(send(make(kRequest)));
    CHECK(quiet());
    const base::UniqueFd host = connect();
    watcher.poll();
    const Packet answer = receive();
    CHECK(+answer.operation == +kResponse);
    CHECK(std::uint32_t{answer.target_port} == 77);
    CHECK(std::uint32_t{answer.buffer_bytes} == 1024 * 1024);
  }
}

TEST_CASE("where only the guest's privileged ports count, others are reset and take nobody's place") {
  Fixture guest(1024);
  guest.buffers(40);
  for (std::uint32_t port = 1024; port < 1024 + 20; ++port) {
    Packet request = guest.make(kRequest);
    request.source_port = port;
    CHECK(guest.send(request));
    const Packet answer = guest.receive();
    CHECK(+answer.operation == +kReset);
    CHECK(std::uint32_t{answer.target_port} == port);
  }
  const base::UniqueFd host = guest.connect();
  Packet request = guest.make(kRequest);
  request.source_port = 1023;
  CHECK(guest.send(request));
  const Packet answer = guest.receive();
  CHECK(+answer.operation == +kResponse);
  CHECK(std::uint32_t{answer.target_port} == 1023);
}

TEST_CASE_FIXTURE(Fixture, "bytes go both ways and are counted") {
  const base::UniqueFd host = open();
  CHECK(send(make(kData, 5), "hello"));
  CHECK(read_all(host) == "hello");
  REQUIRE(::send(host.get(), "answer", 6, 0) == 6);
  watcher.poll();
  const Packet data = receive();
  CHECK(+data.operation == +kData);
  CHECK(payload == "answer");
  CHECK(std::uint32_t{data.forwarded} == 5);
  CHECK(send(make(kCreditRequest)));
  CHECK(+receive().operation == +kCreditUpdate);
}

TEST_CASE_FIXTURE(Fixture, "the guest is given no more than its credit, and the rest once it made room") {
  const base::UniqueFd host = open();
  const std::string sent(6000, 'x');
  REQUIRE(::send(host.get(), sent.data(), sent.size(), 0) == 6000);
  watcher.poll();
  std::size_t got = 0;
  while (!quiet()) got += receive().length;
  CHECK(got == 4096);
  CHECK(watcher.entries.empty());  // nothing to wait for on the host's side
  Packet update = make(kCreditUpdate);
  update.forwarded = 4096;
  CHECK(send(update));
  watcher.poll();
  while (!quiet()) got += receive().length;
  CHECK(got == 6000);
}

TEST_CASE_FIXTURE(Fixture, "a host that does not read costs at most the window, then the stream") {
  const base::UniqueFd host = open();
  const int small = 4096;
  CHECK(::setsockopt(host.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small) == 0);
  const std::string block(32 * 1024, 'y');
  int taken = 0;
  bool reset = false;
  for (int i = 0; i < 100 && !reset; ++i) {
    CHECK(send(make(kData, static_cast<std::uint32_t>(block.size())), block));
    while (!quiet()) reset = receive().operation == kReset || reset;
    taken += reset ? 0 : 1;
    buffers(1);
  }
  CHECK(reset);
  CHECK(taken < 64);
}

TEST_CASE_FIXTURE(Fixture, "either side can end a stream") {
  base::UniqueFd host = open();
  SUBCASE("the host hangs up") {
    host.reset();
    watcher.poll();
    const Packet end = receive();
    CHECK(+end.operation == +kShutdown);
    CHECK(std::uint32_t{end.flags} == 3);
    CHECK(send(make(kShutdown)));
    CHECK(+receive().operation == +kReset);
  }
  SUBCASE("the guest shuts down") {
    CHECK(send(make(kData, 3), "bye"));
    Packet end = make(kShutdown);
    end.flags = 3;
    CHECK(send(end));
    CHECK(+receive().operation == +kReset);
    CHECK(read_all(host) == "bye");
    char byte = 0;
    CHECK(::recv(host.get(), &byte, 1, MSG_DONTWAIT) == 0);
  }
  SUBCASE("the guest resets") {
    CHECK(send(make(kReset)));
    CHECK(quiet());
    char byte = 0;
    CHECK(::recv(host.get(), &byte, 1, MSG_DONTWAIT) == 0);
  }
  SUBCASE("the device is reset") {
    device->reset();
    CHECK(watcher.entries.empty());
    char byte = 0;
    CHECK(::recv(host.get(), &byte, 1, MSG_DONTWAIT) == 0);
  }
}

TEST_CASE_FIXTURE(Fixture, "what is for no stream is answered by a reset, and a reset by nothing") {
  buffers(10);
  constexpr std::uint16_t kNone = 0, kUnknown = 99;
  for (const std::uint16_t operation : {kResponse, kShutdown, kData, kCreditUpdate, kNone, kUnknown}) {
    CHECK(send(make(operation)));
    CHECK(+receive().operation == +kReset);
  }
  CHECK(send(make(kReset)));
  CHECK(quiet());
  Packet elsewhere = make(kRequest);
  elsewhere.target_port = 22;
  CHECK(send(elsewhere));
  const Packet answer = receive();
  CHECK(+answer.operation == +kReset);
  CHECK(std::uint32_t{answer.source_port} == 22);
  Packet forged = make(kRequest);
  forged.source_cid = 4;
  CHECK(send(forged));
  CHECK(quiet());
}

TEST_CASE_FIXTURE(Fixture, "requests beyond the cap are refused and cost nothing") {
  int resets = 0;
  for (std::uint32_t port = 0; port < 100; ++port) {
    buffers(1);
    Packet request = make(kRequest);
    request.source_port = 1000 + port;
    CHECK(send(request));
    (void)driver.used(1);
    while (!quiet()) resets += receive().operation == kReset ? 1 : 0;
  }
  CHECK(resets == 84);
}

TEST_CASE_FIXTURE(Fixture, "a guest that takes no answers is heard no further, and then again") {
  // 64 answers wait; the 65th packet stays in the queue.
  int given_back = 0;
  for (int i = 0; i < 80; ++i) {
    CHECK(send(make(kData)));
    given_back += static_cast<int>(driver.used(1).size());
    if (i == 60) CHECK(given_back == 61);
    if (given_back == 64 && i > 66) break;
  }
  CHECK(given_back == 64);
}

TEST_CASE_FIXTURE(Fixture, "packets that are no packets break the driver, not the device") {
  SUBCASE("half a header") { driver.offer(1, std::string(43, '\0'), 0); }
  SUBCASE("less payload than it says") {
    const Packet packet = make(kData, 10);
    driver.offer(1, std::string(reinterpret_cast<const char*>(&packet), sizeof packet) + "123", 0);
  }
  SUBCASE("a length of 2^32 - 1") {
    const Packet packet = make(kData, 0xffffffff);
    driver.offer(1, std::string(reinterpret_cast<const char*>(&packet), sizeof packet) + "123", 0);
  }
  SUBCASE("a readable buffer that should be writable, as the only one") { driver.offer(1, {}, 100); }
  const auto kicked = device->kick(1);
  REQUIRE_FALSE(kicked);
  CHECK(kicked.error().code == base::Code::Corrupt);
}

TEST_CASE_FIXTURE(Fixture,
                  "that packets were taken is told with the next for the guest, or for a quarter of the queue") {
  const base::UniqueFd host = open();
  const int before = driver.interrupt().used;
  const auto say = [&] { CHECK(send(make(kData, 2), "hi")); };
  for (int i = 0; i < 15; ++i) say();
  CHECK(driver.used(1).size() == 16);  // given back at once, for a driver that looks
  CHECK(driver.interrupt().used == before);
  say();
  CHECK(driver.interrupt().used == before + 1);
  say();
  CHECK(driver.interrupt().used == before + 1);
  REQUIRE(::send(host.get(), "you", 3, 0) == 3);
  watcher.poll();
  CHECK(driver.interrupt().used == before + 2);
  for (int i = 0; i < 15; ++i) say();
  CHECK(driver.interrupt().used == before + 2);
}

TEST_CASE_FIXTURE(Fixture, "room is told at half of the guest's own buffer: it has no more than that under way") {
  const base::UniqueFd host = open();
  CHECK(send(make(kData, 2047), std::string(2047, 'x')));
  CHECK(quiet());
  CHECK(send(make(kData, 1), "y"));  // 2048 of the 4096 that its header names
  const Packet update = receive();
  CHECK(+update.operation == +kCreditUpdate);
  CHECK(std::uint32_t{update.forwarded} == 2048);
  CHECK(quiet());
}
