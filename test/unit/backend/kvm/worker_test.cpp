// SPDX-License-Identifier: Apache-2.0
// The owner's end of the control protocol against peers that do as they like. Needs no KVM.
#include "backend/kvm/worker.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "vmm/monitor/refusal.hpp"

using namespace sandforge;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

// A worker whose monitor is this test: a process that never runs stands for it.
struct Bench {
  explicit Bench(milliseconds patience = milliseconds(200)) {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    peer.reset(ends[0]);
    base::SpawnOptions options;
    options.program = "/bin/sleep";
    options.args = {"60"};
    auto child = base::spawn(options);
    REQUIRE(child);
    base::UniqueFd exited(::fcntl(child.value().pidfd(), F_DUPFD_CLOEXEC, 0));
    backend::LaunchFiles files;
    worker.emplace(backend::ProcessWorker(std::move(child).value(), std::move(exited), files, "guest"),
                   base::UniqueFd(ends[1]), backend::GuestCgroup(),
                   backend::GuestId(std::make_shared<backend::GuestIds>(), 0), backend::KvmRecord(), patience);
  }
  void say(const std::string& packet, int flags = 0) const {
    (void)!::send(peer.get(), packet.data(), packet.size(), MSG_NOSIGNAL | flags);
  }
  base::UniqueFd peer;
  std::optional<backend::KvmWorker> worker;
};

}  // namespace

TEST_CASE("a monitor that says much and nothing of what it was asked is given up in time") {
  Bench bench;
  std::atomic<bool> over{false};
  std::thread flood([&] {
    vmm::ControlAnswer answer;
    answer.kind = static_cast<std::uint16_t>(vmm::ControlKind::Status);
    answer.id = 0xffff;
    while (!over) bench.say(wire::encode(answer), MSG_DONTWAIT);
  });
  const auto before = steady_clock::now();
  std::thread rescue([&] {  // were the deadline not looked at, only a hang-up would end it
    for (int i = 0; i < 100 && !over; ++i) std::this_thread::sleep_for(milliseconds(100));
    ::shutdown(bench.peer.get(), SHUT_RDWR);
  });
  const auto status = bench.worker->status();
  over = true;
  flood.join();
  rescue.join();
  REQUIRE_FALSE(status);
  CHECK(status.error().reason == "monitor_silent");
  CHECK_FALSE(status.error().remedy.empty());
  CHECK(steady_clock::now() - before < std::chrono::seconds(8));
}

TEST_CASE("a monitor that reads nothing never holds its owner") {
  Bench bench(milliseconds(1));
  std::atomic<bool> over{false};
  std::thread rescue([&] {
    for (int i = 0; i < 200 && !over; ++i) std::this_thread::sleep_for(milliseconds(100));
    if (!over) ::shutdown(bench.peer.get(), SHUT_RDWR);
  });
  for (int i = 0; i < 1000; ++i) {
    const auto status = bench.worker->status();
    REQUIRE_FALSE(status);
    REQUIRE(status.error().reason == "monitor_silent");
  }
  over = true;
  rescue.join();
}

TEST_CASE("why a monitor refused its guest is told with code, reason and remedy") {
  Bench bench;
  CHECK_FALSE(bench.worker->refusal());
  vmm::Refusal refusal;
  refusal.code = base::Code::InvalidArgument;
  refusal.reason = "memory_too_small";
  refusal.message = "too small";
  refusal.remedy = "more";
  std::string packet = wire::encode(refusal);
  SUBCASE("after something else") { bench.say(wire::encode(vmm::ControlAnswer())); }
  SUBCASE("alone") {}
  bench.say(packet);
  bench.peer.reset();
  const auto told = bench.worker->refusal();
  REQUIRE(told);
  CHECK(told->code == base::Code::InvalidArgument);
  CHECK(told->reason == "memory_too_small");
  CHECK(told->message == "too small");
  CHECK(told->remedy == "more");
}

TEST_CASE("a refusal that is none is not believed, and one without an error is an error all the same") {
  Bench bench;
  vmm::Refusal refusal;
  refusal.magic = 1;
  bench.say(wire::encode(refusal));
  bench.say("garbage");
  CHECK_FALSE(bench.worker->refusal());
  refusal.magic = vmm::Refusal::kMagic;
  refusal.code = base::Code::Ok;
  bench.say(wire::encode(refusal));
  const auto told = bench.worker->refusal();
  REQUIRE(told);
  CHECK(told->code == base::Code::Internal);
}
