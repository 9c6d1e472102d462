// SPDX-License-Identifier: Apache-2.0
// The host directories of one sandbox, each known to the guest as a number: a directory of that name in the root.
//
//   control thread   attach ──────────────> detach          (at any time, never waits for the worker)
//   worker thread    at(), all()            generation() has changed: it drops what it holds of the detached
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/limits.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::fsd {

struct Mount {
  std::uint32_t index = 0;
  std::uint64_t serial = 0;  // never used twice, as an index is
  bool read_only = false;
  base::UniqueFd root;  // a detached mount of its own: nothing is above it
  std::uint64_t device = 0;
  std::uint32_t owner = 0;  // of the root directory, as this process's user namespace shows it
  std::atomic<bool> detached{false};
};

class MountTable {
 public:
  using Slot = std::shared_ptr<Mount>;

  // Control thread. Takes a descriptor of a mount and checks that it is what it must be: a directory with nothing
  // above, nosuid, nodev, noexec, and unwritable when it is to be `read_only`.
  // 0, or: EINVAL index out of range, EBUSY taken, ENOTDIR, EXDEV not a mount of its own, EPERM its flags.
  int attach(std::uint32_t index, bool read_only, base::UniqueFd root);
  // Control thread. ENOENT: nothing there.
  int detach(std::uint32_t index);

  // Any thread.
  Slot at(std::uint32_t index) const;
  std::vector<Slot> all() const;
  // Changes with each detach().
  std::uint64_t generation() const noexcept { return generation_.load(std::memory_order_acquire); }

 private:
  mutable std::mutex mutex_;  // guards slots_; never held during a call into the host's file system
  std::array<Slot, limits::kMountsMax> slots_;
  std::uint64_t next_serial_ = 1;  // control thread
  std::atomic<std::uint64_t> generation_{0};
};

}  // namespace sandforge::fsd
