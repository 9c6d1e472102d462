// SPDX-License-Identifier: Apache-2.0
// The gate that every vCPU thread passes between two runs of the guest: closed, it holds them, and tells when all are
// held.
//
//   loop:   close() -- each vCPU is asked to leave the guest --> parked_fd readable --> all_parked() --> ... --> open()
//   vCPU:   in the guest --> pass(): waits while the gate is closed --> in the guest
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "vmm/hypervisor/hypervisor.hpp"

namespace sandforge::vmm {

class VcpuGate {
 public:
  static base::Result<std::unique_ptr<VcpuGate>> create();

  // Before any thread runs. The vCPU outlives the gate.
  void add(Vcpu& vcpu) { seats_.push_back(std::make_unique<Seat>(vcpu)); }

  // The thread of vCPU `index`, once, before it is confined: from here on it can be interrupted in the guest.
  void enter(std::size_t index) noexcept;
  // vCPU threads, `index` their own: after each exit. BLOCKS while the gate is closed.
  void pass(std::size_t index) noexcept;

  // Loop thread, all below. Readable when a vCPU was parked since all_parked() was last asked.
  int parked_fd() const noexcept { return parked_event_.get(); }
  // Whether every vCPU is held by the gate as it is closed now. Takes the count of parked_fd.
  bool all_parked() noexcept;
  void close() noexcept;
  void open() noexcept;
  // How often vCPUs came out of the guest since the start.
  std::uint64_t exits() const noexcept;

 private:
  // Each on a cache line of its own: a thread counts its exits there.
  struct alignas(64) Seat {
    explicit Seat(Vcpu& whose) : vcpu(whose) {}
    Vcpu& vcpu;
    std::atomic<pid_t> thread{0};
    std::atomic<std::uint64_t> exits{0};
    std::atomic<std::uint32_t> parked_in{0};  // the last turn in which the thread was held
  };
  explicit VcpuGate(base::UniqueFd event) : parked_event_(std::move(event)) {}

  const pid_t process_ = ::getpid();  // kept: a confined thread may not ask
  base::UniqueFd parked_event_;
  std::vector<std::unique_ptr<Seat>> seats_;
  std::atomic<std::uint32_t> turn_{0};  // odd: closed
};

}  // namespace sandforge::vmm
