// SPDX-License-Identifier: Apache-2.0
#include "vmm/monitor/vcpu_gate.hpp"

#include <doctest/doctest.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <thread>

#include "vmm/monitor/ready_vcpu.hpp"

using namespace sandforge;

namespace {

// A guest that runs until it is asked to leave: blocks in a system call, as KVM_RUN does.
class BlockingVcpu final : public vmm::test::ReadyVcpu {
 public:
  base::Result<vmm::Exit> run() override {
    if (!asked.exchange(false)) {
      // The race that KVM closes by reading immediate_exit with signals blocked is closed here by a short time-out.
      ::poll(nullptr, 0, 5);
      asked = false;
    }
    ++runs;
    return vmm::Exit{};
  }
  void request_exit() noexcept override { asked = true; }
  std::atomic<bool> asked{false};
  std::atomic<std::uint64_t> runs{0};
};

// One that is at the gate all the time.
class EagerVcpu final : public vmm::test::ReadyVcpu {
 public:
  base::Result<vmm::Exit> run() override {
    ++runs;
    return vmm::Exit{};
  }
  std::atomic<std::uint64_t> runs{0};
};

// vCPUs behind a gate, each on a thread of its own until the end of this.
template <typename Vcpu, std::size_t N>
class Running {
 public:
  Running() {
    for (Vcpu& vcpu : vcpus_) gate->add(vcpu);
    for (std::size_t i = 0; i < N; ++i) {
      threads_[i] = std::thread([this, i] {
        for (gate->enter(i); !over_; gate->pass(i)) (void)vcpus_[i].run();
      });
    }
  }
  ~Running() {
    over_ = true;
    gate->open();
    for (std::thread& thread : threads_) thread.join();
  }
  std::array<std::uint64_t, N> runs() const {
    std::array<std::uint64_t, N> counts;
    std::ranges::transform(vcpus_, counts.begin(), [](const Vcpu& vcpu) { return vcpu.runs.load(); });
    return counts;
  }
  const std::unique_ptr<vmm::VcpuGate> gate = std::move(vmm::VcpuGate::create()).value();

 private:
  std::array<Vcpu, N> vcpus_;
  std::atomic<bool> over_{false};
  std::array<std::thread, N> threads_;
};

bool readable(int fd, int timeout_ms) {
  pollfd state{fd, POLLIN, 0};
  return ::poll(&state, 1, timeout_ms) == 1;
}

}  // namespace

TEST_CASE("a closed gate holds every vCPU, an open one lets all go on, again and again") {
  Running<BlockingVcpu, 3> machine;
  vmm::VcpuGate* const gate = machine.gate.get();
  for (int round = 0; round < 200; ++round) {
    gate->close();
    while (!gate->all_parked()) REQUIRE(readable(gate->parked_fd(), 10'000));
    const auto before = machine.runs();
    if (round % 50 == 0) ::poll(nullptr, 0, 20);
    CHECK(machine.runs() == before);
    gate->open();
    CHECK_FALSE(gate->all_parked());
  }
  CHECK(gate->exits() > 0);
}

TEST_CASE("a gate that is closed again at once waits for every vCPU anew") {
  Running<EagerVcpu, 4> machine;
  vmm::VcpuGate* const gate = machine.gate.get();
  for (int round = 0; round < 2000; ++round) {
    // Nobody waits in between: threads come to the gate in one turn and are held in another.
    gate->close();
    for (int again = round % 8; again > 0; --again) {
      gate->open();
      gate->close();
    }
    while (!gate->all_parked()) REQUIRE(readable(gate->parked_fd(), 10'000));
    const auto before = machine.runs();
    std::this_thread::yield();
    REQUIRE(machine.runs() == before);
    gate->open();
  }
}
