// SPDX-License-Identifier: Apache-2.0
// As whom a monitor runs when the engine is root: a user id of its own, that nobody else on the host has.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string_view>
#include <utility>

#include "base/result.hpp"

namespace sandforge::backend {

// Where the ids come from: out of a range that distributions, systemd and container tools leave alone.
inline constexpr std::uint32_t kGuestIdBase = 0x6f000000, kGuestIdMask = 0x00ffffff;

// The id, as user and group, for a guest: `random` placed into the range; 65534 ("nobody") where this process lives in
// a user namespace that lacks the range; 0 (stay root) where it lacks that too. The maps are the texts of
// /proc/self/uid_map and gid_map.
std::uint32_t choose_guest_id(std::string_view uid_map, std::string_view gid_map, std::uint32_t random);

// The same for this process, now; 0 also when it is not root or may not change ids (capabilities, setgroups).
// Errors: of getrandom; never 0 instead.
base::Result<std::uint32_t> guest_id();

// Ids of the guests of one engine: no two alike at a time. One thread.
class GuestIds {
 public:
  using Choose = std::function<base::Result<std::uint32_t>()>;
  explicit GuestIds(Choose choose = guest_id) : choose_(std::move(choose)) {}

  // As guest_id(), and out of use by others; nobody's id and 0 are shared. Errors: of guest_id(), exhausted "guest_ids"
  // when only ids in use were found.
  base::Result<std::uint32_t> take();
  void reserve(std::uint32_t id) { used_.insert(id); }
  void give_back(std::uint32_t id) { used_.erase(id); }

 private:
  Choose choose_;
  std::set<std::uint32_t> used_;
};

}  // namespace sandforge::backend
