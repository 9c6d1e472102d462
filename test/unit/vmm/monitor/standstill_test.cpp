// SPDX-License-Identifier: Apache-2.0
#include "vmm/monitor/standstill.hpp"

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <optional>
#include <thread>

#include "vmm/monitor/ready_vcpu.hpp"

using namespace sandforge;
using vmm::ControlAnswer;
using vmm::ControlKind;
using vmm::RunState;

namespace {

class IdleVcpu final : public vmm::test::ReadyVcpu {
 public:
  base::Result<vmm::Exit> run() override {
    ::poll(nullptr, 0, 2);
    return vmm::Exit{};
  }
};

// A machine of one vCPU and one device, which counts what comes to it; its owner asks from another thread.
class Machine final : public vmm::ControlActions {
 public:
  Machine() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    owner.reset(ends[0]);
    control.emplace(base::UniqueFd(ends[1]), base::UniqueFd(), *this);
    gate->add(vcpu_);
    REQUIRE(control->watch(loop.get()));
    REQUIRE(loop->add(device.get(), EPOLLIN, [this](std::uint32_t) {
      eventfd_t count = 0;
      (void)!::eventfd_read(device.get(), &count);
      ++served;
    }));
    REQUIRE(loop->add(gate->parked_fd(), EPOLLIN, [this](std::uint32_t) {
      if (!standstill.on_parked(*control, over)) loop->stop();
    }));
    vcpu_thread_ = std::thread([this] {
      for (gate->enter(0); !over; gate->pass(0)) (void)vcpu_.run();
    });
    loop_thread_ = std::thread([this] { (void)loop->run(); });
  }
  ~Machine() override {
    if (!over) ask(ControlKind::Stop);
    loop_thread_.join();
    gate->open();
    vcpu_thread_.join();
  }
  void describe(ControlAnswer& answer) override { answer.state = standstill.state(); }
  bool pause() override { return standstill.pause(); }
  void resume() override { standstill.resume(); }
  bool set_balloon(std::uint64_t) override { return true; }
  void stop() override {
    over = true;
    standstill.end();
    loop->stop();
  }

  ControlAnswer ask(ControlKind kind) {
    vmm::ControlRequest request;
    request.kind = static_cast<std::uint16_t>(kind);
    const std::string packet = wire::encode(request);
    REQUIRE(::send(owner.get(), packet.data(), packet.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(packet.size()));
    std::array<char, 256> buffer;
    pollfd come{owner.get(), POLLIN, 0};
    REQUIRE(::poll(&come, 1, 10'000) == 1);
    const ssize_t n = ::recv(owner.get(), buffer.data(), buffer.size(), 0);
    const auto answer = wire::decode<ControlAnswer>({buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(n, 0))});
    REQUIRE(answer);
    return answer.value();
  }

  std::unique_ptr<vmm::Loop> loop = std::move(vmm::Loop::create()).value();
  std::unique_ptr<vmm::Loop> quiet = std::move(vmm::Loop::create()).value();
  std::unique_ptr<vmm::VcpuGate> gate = std::move(vmm::VcpuGate::create()).value();
  vmm::Standstill standstill{*loop, *quiet, *gate};
  base::UniqueFd device{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  base::UniqueFd owner;
  std::optional<vmm::Control> control;
  std::atomic<bool> over{false};
  std::atomic<int> served{0};

 private:
  IdleVcpu vcpu_;
  std::thread vcpu_thread_, loop_thread_;
};

}  // namespace

TEST_CASE("a machine that is said to be paused serves no device, whatever was resumed before") {
  Machine machine;
  SUBCASE("never paused") {}
  SUBCASE("resumed while it ran") { CHECK(machine.ask(ControlKind::Resume).state == RunState::Running); }
  SUBCASE("paused, and resumed twice") {
    CHECK(machine.ask(ControlKind::Pause).state == RunState::Paused);
    CHECK(machine.ask(ControlKind::Resume).state == RunState::Running);
    CHECK(machine.ask(ControlKind::Resume).state == RunState::Running);
  }
  CHECK(machine.ask(ControlKind::Pause).state == RunState::Paused);
  REQUIRE(::eventfd_write(machine.device.get(), 1) == 0);
  for (int i = 0; i < 20; ++i) CHECK(machine.ask(ControlKind::Status).state == RunState::Paused);
  CHECK(machine.served == 0);
  CHECK(machine.ask(ControlKind::Resume).state == RunState::Running);
  for (int i = 0; i < 100 && machine.served == 0; ++i) (void)machine.ask(ControlKind::Status);
  CHECK(machine.served == 1);  // what came meanwhile was kept for it
}

TEST_CASE("a paused machine that is stopped ends at once") {
  Machine machine;
  CHECK(machine.ask(ControlKind::Pause).state == RunState::Paused);
  CHECK(machine.ask(ControlKind::Stop).state == RunState::Paused);
}
