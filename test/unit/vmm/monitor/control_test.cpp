// SPDX-License-Identifier: Apache-2.0
#include "vmm/monitor/control.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstring>
#include <map>
#include <vector>

#include "vmm/monitor/loop.hpp"

using namespace sandforge;
using vmm::ControlAnswer;
using vmm::ControlKind;
using vmm::ControlRequest;
using vmm::ControlResult;
using vmm::RunState;

namespace {

class Machine final : public vmm::ControlActions {
 public:
  explicit Machine(vmm::Loop& loop) : loop_(loop) {}
  void describe(ControlAnswer& answer) override {
    answer.state = state;
    answer.exits = 42;
  }
  bool pause() override {
    ++pauses;
    if (state == RunState::Paused) return true;
    state = RunState::Pausing;
    return false;
  }
  void resume() override { state = RunState::Running; }
  bool set_balloon(std::uint64_t bytes) override {
    balloon = bytes;
    return bytes <= 100;
  }
  void stop() override {
    stopped = true;
    loop_.stop();
  }
  RunState state = RunState::Running;
  std::uint64_t balloon = 0;
  int pauses = 0;
  bool stopped = false;

 private:
  vmm::Loop& loop_;
};

class Watched final : public vmm::Watcher {
 public:
  base::Status add(int fd, std::uint32_t, Callback callback) override {
    callbacks[fd] = std::move(callback);
    return {};
  }
  base::Status modify(int, std::uint32_t) override { return {}; }
  void remove(int fd) override { callbacks.erase(fd); }
  void tell(int fd) {
    const Callback callback = callbacks.at(fd);
    callback(EPOLLIN);
  }
  std::map<int, Callback> callbacks;
};

struct Bench {
  explicit Bench(bool listens = false) {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    ours.reset(ends[0]);
    base::UniqueFd made;
    if (listens) {
      made.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      const sa_family_t family = AF_UNIX;  // bind without a name: the kernel gives it an abstract one
      REQUIRE(::bind(made.get(), reinterpret_cast<const sockaddr*>(&family), sizeof family) == 0);
      REQUIRE(::listen(made.get(), 4) == 0);
      listener = made.get();
      address_size = sizeof address;
      REQUIRE(::getsockname(made.get(), reinterpret_cast<sockaddr*>(&address), &address_size) == 0);
    }
    control.emplace(base::UniqueFd(ends[1]), std::move(made), machine);
    REQUIRE(control->watch(loop.get()));
  }
  base::UniqueFd connect() {
    base::UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    REQUIRE(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), address_size) == 0);
    return fd;
  }
  static void send(int fd, std::string_view packet) {
    REQUIRE(::send(fd, packet.data(), packet.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(packet.size()));
  }
  static void send(int fd, ControlKind kind, std::uint32_t id, std::uint64_t value = 0) {
    ControlRequest request;
    request.kind = static_cast<std::uint16_t>(kind);
    request.id = id;
    request.value = value;
    send(fd, wire::encode(request));
  }
  // Serves what has come so far.
  void turn() {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const base::UniqueFd read_end(ends[0]);
    for (int i = 0; i < 3; ++i) {
      base::UniqueFd write_end(::fcntl(ends[1], F_DUPFD_CLOEXEC, 0));
      // Writable at once: one round of the loop with whatever else is ready.
      REQUIRE(loop->add(write_end.get(), EPOLLOUT, [this](std::uint32_t) { loop->stop(); }));
      REQUIRE(loop->run());
      loop->remove(write_end.get());
    }
    ::close(ends[1]);
  }
  static std::optional<ControlAnswer> answer(int fd) {
    std::array<char, 256> buffer;
    const ssize_t n = ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (n <= 0) return std::nullopt;
    auto decoded = wire::decode<ControlAnswer>({buffer.data(), static_cast<std::size_t>(n)});
    REQUIRE(decoded);
    return decoded.value();
  }
  static bool hung_up(int fd) {
    pollfd state{fd, POLLIN, 0};
    return ::poll(&state, 1, 0) == 1 && (state.revents & POLLHUP) != 0;
  }

  std::unique_ptr<vmm::Loop> loop = std::move(vmm::Loop::create()).value();
  Machine machine{*loop};
  std::optional<vmm::Control> control;
  base::UniqueFd ours;
  int listener = -1;  // the control's own
  sockaddr_un address{};
  socklen_t address_size = 0;
};

}  // namespace

TEST_CASE("a control request has the documented size") {
  CHECK(wire::encode(ControlRequest{}).size() == vmm::kControlRequestBytes);
}

TEST_CASE("every control request is answered once, under its own number") {
  Bench bench;
  const int fd = bench.ours.get();
  Bench::send(fd, ControlKind::Status, 7);
  Bench::send(fd, ControlKind::BalloonTarget, 8, 100);
  Bench::send(fd, ControlKind::BalloonTarget, 9, 101);
  Bench::send(fd, static_cast<ControlKind>(999), 10);
  Bench::send(fd, ControlKind::Ended, 11);
  bench.turn();
  const ControlResult expected[] = {ControlResult::Ok, ControlResult::Ok, ControlResult::BadValue,
                                    ControlResult::Unknown, ControlResult::Unknown};
  for (std::uint32_t i = 0; i < 5; ++i) {
    const auto answer = Bench::answer(fd);
    REQUIRE(answer);
    CHECK(answer->id == 7 + i);
    CHECK(answer->result == static_cast<std::uint16_t>(expected[i]));
    CHECK(answer->exits == 42);
  }
  CHECK_FALSE(Bench::answer(fd));
  CHECK(bench.machine.balloon == 101);
}

TEST_CASE("a pause is answered when it is complete, a second one meanwhile is refused, and a resume ends it") {
  Bench bench;
  const int fd = bench.ours.get();
  Bench::send(fd, ControlKind::Pause, 1);
  bench.turn();
  CHECK_FALSE(Bench::answer(fd));
  Bench::send(fd, ControlKind::Pause, 2);
  bench.turn();
  CHECK(Bench::answer(fd)->result == static_cast<std::uint16_t>(ControlResult::WrongState));
  bench.machine.state = RunState::Paused;
  bench.control->paused();
  const auto answer = Bench::answer(fd);
  REQUIRE(answer);
  CHECK(answer->id == 1);
  CHECK(answer->state == RunState::Paused);
  Bench::send(fd, ControlKind::Pause, 3);  // it is paused already
  Bench::send(fd, ControlKind::Resume, 4);
  bench.turn();
  CHECK(Bench::answer(fd)->id == 3);
  const auto resumed = Bench::answer(fd);
  REQUIRE(resumed);
  CHECK(resumed->id == 4);
  CHECK(resumed->state == RunState::Running);
}

TEST_CASE("a pause whose asker is gone is answered to the next who asks, and begun once") {
  Bench bench(true);
  base::UniqueFd first = bench.connect();
  bench.turn();
  Bench::send(first.get(), ControlKind::Pause, 1);
  bench.turn();
  CHECK(bench.machine.pauses == 1);
  first.reset();
  bench.turn();
  Bench::send(bench.ours.get(), ControlKind::Pause, 2);
  bench.turn();
  CHECK(bench.machine.pauses == 1);
  CHECK_FALSE(Bench::answer(bench.ours.get()));
  bench.machine.state = RunState::Paused;
  bench.control->paused();
  const auto answer = Bench::answer(bench.ours.get());
  REQUIRE(answer);
  CHECK(answer->id == 2);
  CHECK(answer->state == RunState::Paused);
  Bench::send(bench.ours.get(), ControlKind::Resume, 3);
  Bench::send(bench.ours.get(), ControlKind::Pause, 4);
  bench.turn();
  CHECK(bench.machine.pauses == 2);
}

TEST_CASE("without a descriptor for a new owner the monitor does not spin, and hears it when one is free") {
  Bench bench(true);
  Watched watched;
  REQUIRE(bench.control->watch(&watched));
  const int listener = bench.listener;
  REQUIRE(watched.callbacks.contains(listener));
  const base::UniqueFd successor = bench.connect();
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const int lowest = ::fcntl(successor.get(), F_DUPFD_CLOEXEC, 0);
  ::close(lowest);
  const rlimit none{static_cast<rlim_t>(lowest), before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  watched.tell(listener);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK_FALSE(watched.callbacks.contains(listener));  // watched on, it would be readable for ever
  const int owner = watched.callbacks.begin()->first;
  bench.ours.reset();
  watched.tell(owner);
  REQUIRE(watched.callbacks.contains(listener));
  watched.tell(listener);
  Bench::send(successor.get(), ControlKind::Status, 9);
  for (const auto& [fd, callback] : std::map(watched.callbacks)) callback(EPOLLIN);
  CHECK(Bench::answer(successor.get())->id == 9);
}

TEST_CASE("a packet that is no request hangs up, and without a listener that is the end") {
  Bench bench;
  SUBCASE("too short") { Bench::send(bench.ours.get(), std::string_view("hello")); }
  SUBCASE("too long") { Bench::send(bench.ours.get(), wire::encode(ControlRequest{}) + "x"); }
  SUBCASE("empty") { REQUIRE(::send(bench.ours.get(), "", 0, MSG_NOSIGNAL) == 0); }
  SUBCASE("the owner is gone") { ::shutdown(bench.ours.get(), SHUT_RDWR); }
  REQUIRE(bench.loop->run());
  CHECK(bench.machine.stopped);
  CHECK(Bench::hung_up(bench.ours.get()));
}

TEST_CASE("an owner that reads no answer is hung up, not waited for") {
  Bench bench(true);
  for (std::uint32_t id = 0; id < 2000; ++id) {
    ControlRequest request;
    request.kind = static_cast<std::uint16_t>(ControlKind::Status);
    request.id = id;
    const std::string packet = wire::encode(request);
    if (::send(bench.ours.get(), packet.data(), packet.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) bench.turn();
  }
  CHECK(Bench::hung_up(bench.ours.get()));
  CHECK_FALSE(bench.machine.stopped);
}

TEST_CASE("with a listener the monitor outlives its owner, and a newer owner replaces the older") {
  Bench bench(true);
  bench.ours.reset();
  bench.turn();
  CHECK_FALSE(bench.machine.stopped);
  const base::UniqueFd first = bench.connect();
  bench.turn();
  const base::UniqueFd second = bench.connect();
  bench.turn();
  CHECK(Bench::hung_up(first.get()));
  Bench::send(second.get(), ControlKind::Status, 5);
  bench.turn();
  CHECK(Bench::answer(second.get())->id == 5);
  bench.control->ended(vmm::Ending::Reset);
  const auto last = Bench::answer(second.get());
  REQUIRE(last);
  CHECK(last->kind == static_cast<std::uint16_t>(ControlKind::Ended));
  CHECK(last->value == static_cast<std::uint64_t>(vmm::Ending::Reset));
}
