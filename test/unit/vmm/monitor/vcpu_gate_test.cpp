// SPDX-License-Identifier: Apache-2.0
#include "vmm/monitor/vcpu_gate.hpp"

#include <doctest/doctest.h>
#include <poll.h>

#include <thread>

using namespace sandforge;

namespace {

// A guest that runs until it is asked to leave: blocks in a system call, as KVM_RUN does.
class BlockingVcpu final : public vmm::Vcpu {
 public:
  base::Status set_cpuid(std::span<const vmm::CpuidEntry>) override { return {}; }
  base::Status set_xcr0(std::uint64_t) override { return {}; }
  base::Status set_msrs(std::span<const vmm::Msr>) override { return {}; }
  base::Status enter_flat_protected_mode(std::uint32_t, std::uint32_t) override { return {}; }
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
class EagerVcpu final : public vmm::Vcpu {
 public:
  base::Status set_cpuid(std::span<const vmm::CpuidEntry>) override { return {}; }
  base::Status set_xcr0(std::uint64_t) override { return {}; }
  base::Status set_msrs(std::span<const vmm::Msr>) override { return {}; }
  base::Status enter_flat_protected_mode(std::uint32_t, std::uint32_t) override { return {}; }
  base::Result<vmm::Exit> run() override {
    ++runs;
    return vmm::Exit{};
  }
  void request_exit() noexcept override {}
  std::atomic<std::uint64_t> runs{0};
};

bool readable(int fd, int timeout_ms) {
  pollfd state{fd, POLLIN, 0};
  return ::poll(&state, 1, timeout_ms) == 1;
}

}  // namespace

TEST_CASE("a closed gate holds every vCPU, an open one lets all go on, again and again") {
  auto gate = std::move(vmm::VcpuGate::create()).value();
  std::array<BlockingVcpu, 3> vcpus;
  for (BlockingVcpu& vcpu : vcpus) gate->add(vcpu);
  std::atomic<bool> over{false};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < vcpus.size(); ++i) {
    threads.emplace_back([&, i] {
      for (gate->enter(i); !over; gate->pass(i)) (void)vcpus[i].run();
    });
  }
  for (int round = 0; round < 200; ++round) {
    gate->close();
    while (!gate->all_parked()) REQUIRE(readable(gate->parked_fd(), 10'000));
    std::array<std::uint64_t, 3> before{};
    for (std::size_t i = 0; i < vcpus.size(); ++i) before[i] = vcpus[i].runs;
    if (round % 50 == 0) ::poll(nullptr, 0, 20);
    for (std::size_t i = 0; i < vcpus.size(); ++i) CHECK(vcpus[i].runs == before[i]);
    gate->open();
    CHECK_FALSE(gate->all_parked());
  }
  CHECK(gate->exits() > 0);
  over = true;
  for (std::thread& thread : threads) thread.join();
}

TEST_CASE("a gate that is closed again at once waits for every vCPU anew") {
  auto gate = std::move(vmm::VcpuGate::create()).value();
  std::array<EagerVcpu, 4> vcpus;
  for (EagerVcpu& vcpu : vcpus) gate->add(vcpu);
  std::atomic<bool> over{false};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < vcpus.size(); ++i) {
    threads.emplace_back([&, i] {
      for (gate->enter(i); !over; gate->pass(i)) (void)vcpus[i].run();
    });
  }
  for (int round = 0; round < 2000; ++round) {
    // Nobody waits in between: threads come to the gate in one turn and are held in another.
    gate->close();
    for (int again = round % 8; again > 0; --again) {
      gate->open();
      gate->close();
    }
    while (!gate->all_parked()) REQUIRE(readable(gate->parked_fd(), 10'000));
    std::array<std::uint64_t, 4> before{};
    for (std::size_t i = 0; i < vcpus.size(); ++i) before[i] = vcpus[i].runs;
    std::this_thread::yield();
    for (std::size_t i = 0; i < vcpus.size(); ++i) REQUIRE(vcpus[i].runs == before[i]);
    gate->open();
  }
  over = true;
  for (std::thread& thread : threads) thread.join();
}
