// SPDX-License-Identifier: Apache-2.0
// As whom a monitor runs when the engine is root: a user id of its own, that nobody else on the host has.
#pragma once

#include <cstdint>
#include <set>
#include <string_view>

namespace sandforge::backend {

// Where the ids come from: out of a range that distributions, systemd and container tools leave alone.
inline constexpr std::uint32_t kGuestIdBase = 0x6f000000, kGuestIdMask = 0x00ffffff;

// The id, as user and group, for a guest: `random` placed into the range; 65534 ("nobody") where this process lives in
// a user namespace that lacks the range; 0 (stay root) where it lacks that too. The maps are the texts of
// /proc/self/uid_map and gid_map.
std::uint32_t choose_guest_id(std::string_view uid_map, std::string_view gid_map, std::uint32_t random);

// The same for this process, now; 0 also when it is not root or may not change ids (capabilities, setgroups).
std::uint32_t guest_id();

// Ids of the guests of one engine: no two alike at a time. One thread.
class GuestIds {
 public:
  // As guest_id(), and out of use by others; nobody's id and 0 are shared.
  std::uint32_t take();
  void reserve(std::uint32_t id) { used_.insert(id); }
  void give_back(std::uint32_t id) { used_.erase(id); }

 private:
  std::set<std::uint32_t> used_;
};

}  // namespace sandforge::backend
