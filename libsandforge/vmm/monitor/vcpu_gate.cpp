// SPDX-License-Identifier: Apache-2.0
#include "vmm/monitor/vcpu_gate.hpp"

#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "base/event_fd.hpp"
#include "vmm/jail/seccomp.hpp"

namespace sandforge::vmm {

base::Result<std::unique_ptr<VcpuGate>> VcpuGate::create() {
  SANDFORGE_TRY(base::UniqueFd event, base::make_event());
  // Only to end the system call that the thread is in. Not restarted: that is the point.
  struct sigaction action {};
  action.sa_handler = [](int) {};
  if (::sigaction(kKickSignal, &action, nullptr) != 0) return base::os_error("handle the kick signal");
  return std::unique_ptr<VcpuGate>(new VcpuGate(std::move(event)));
}

void VcpuGate::enter(std::size_t index) noexcept { seats_[index]->thread.store(::gettid(), std::memory_order_release); }

void VcpuGate::pass(std::size_t index) noexcept {
  Seat& seat = *seats_[index];
  seat.exits.store(seat.exits.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  // Vcpu::run() may just have taken back a request to exit; close() sets the turn first and asks then. With a fence on
  // either side, this thread sees the turn, or the request comes after it was taken back.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  for (std::uint32_t turn = turn_.load(); turn % 2 == 1; turn = turn_.load()) {
    // Said by name of the turn, not counted: the gate may have been opened, and closed again, since it was read.
    if (seat.parked_in.load() != turn) {
      seat.parked_in.store(turn);
      (void)!::eventfd_write(parked_event_.get(), 1);
    }
    turn_.wait(turn);
  }
}

bool VcpuGate::all_parked() noexcept {
  eventfd_t count = 0;
  (void)!::eventfd_read(parked_event_.get(), &count);
  const std::uint32_t turn = turn_.load();
  return turn % 2 == 1 &&
         std::all_of(seats_.begin(), seats_.end(), [turn](const auto& seat) { return seat->parked_in.load() == turn; });
}

void VcpuGate::close() noexcept {
  if (turn_.load() % 2 == 1) return;
  turn_.fetch_add(1);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  for (const auto& seat : seats_) {
    seat->vcpu.request_exit();
    const pid_t thread = seat->thread.load(std::memory_order_acquire);
    if (thread != 0) ::syscall(SYS_tgkill, process_, thread, kKickSignal);
  }
}

void VcpuGate::open() noexcept {
  if (turn_.load() % 2 == 0) return;
  turn_.fetch_add(1);
  turn_.notify_all();
}

std::uint64_t VcpuGate::exits() const noexcept {
  std::uint64_t sum = 0;
  for (const auto& seat : seats_) sum += seat->exits.load(std::memory_order_relaxed);
  return sum;
}

}  // namespace sandforge::vmm
