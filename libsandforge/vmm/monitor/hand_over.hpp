// SPDX-License-Identifier: Apache-2.0
// Hands a guest's register accesses from the vCPU threads over to the device loop, and its answer back.
//
//   vCPU thread:  perform() ── puts the access down, wakes the loop ── waits ──────────── goes on in the guest
//   loop thread:                                   serve() ── one access after the other ──'
//
// Why not a lock, with each vCPU thread running device code itself: device code then needs no locks and has one order
// of events (a reset cannot run beside a request), and a vCPU thread holds no descriptor and makes no system call that
// a device needs, so that its system call list stays at a handful. The price, two context switches an access, is paid
// while a driver sets a device up; requests and completions travel by event descriptors, past this class.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "vmm/platform/bus.hpp"

namespace sandforge::vmm {

class HandOver {
 public:
  static base::Result<HandOver> create();
  HandOver(HandOver&& other) noexcept : wake_(std::move(other.wake_)) {}  // before any thread uses it

  // vCPU threads. BLOCKS until the loop has served the access. `data` is read or filled in place.
  void perform(Bus::Target target, bool write, std::span<std::byte> data);

  // Readable when there is something to serve. Borrowed.
  int wake_fd() const noexcept { return wake_.get(); }
  // Loop thread. At most one access for each vCPU is waiting, so this ends. `first` is called between taking the
  // accesses and performing them: for what their vCPUs did before.
  void serve(const std::function<void()>& first = {});

 private:
  struct Access {
    Bus::Target target;
    bool write;
    std::span<std::byte> data;
    std::atomic<std::uint32_t> done{0};
  };
  explicit HandOver(base::UniqueFd wake) : wake_(std::move(wake)) {}

  base::UniqueFd wake_;
  std::mutex mutex_;              // guards waiting_
  std::vector<Access*> waiting_;  // each lives on the stack of a thread in perform()
};

}  // namespace sandforge::vmm
