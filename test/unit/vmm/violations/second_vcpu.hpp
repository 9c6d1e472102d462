// SPDX-License-Identifier: Apache-2.0
// A second vCPU that is always fast enough: after each single instruction by which the device touches some pages of
// guest memory, a function runs that may rewrite them. What is read twice is then seen to differ, every time.
#pragma once

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "vmm/memory/guest_memory.hpp"

namespace sandforge::vmm::test {

// One at a time, on the thread that runs the device. While it lives, the pages are without access and each touch is a
// fault: it is let through for one instruction (the processor's trap flag), then `rewrite` is called. The kernel's own
// accesses, of system calls, do not come through: they fail.
class SecondVcpu {
 public:
  // `address` and `bytes` are whole pages of `memory`.
  SecondVcpu(const GuestMemory& memory, GuestAddress address, std::size_t bytes, std::function<void()> rewrite);
  SecondVcpu(const SecondVcpu&) = delete;
  ~SecondVcpu();

  std::uint64_t touches() const { return touches_; }

 private:
  static void on_fault(int signal, siginfo_t* info, void* context);
  static void on_step(int signal, siginfo_t* info, void* context);

  std::byte* start_;
  std::size_t bytes_;
  std::function<void()> rewrite_;
  std::uint64_t touches_ = 0;
  struct sigaction fault_before_ {};
  struct sigaction step_before_ {};
};

}  // namespace sandforge::vmm::test
