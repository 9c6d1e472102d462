// SPDX-License-Identifier: Apache-2.0
#include "backend/privilege.hpp"

#include <linux/capability.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string>

#include "base/pseudo_file.hpp"

namespace sandforge::backend {
namespace {

constexpr std::uint32_t kNobody = 65534;

std::uint64_t take_number(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), value);
  line.remove_prefix(static_cast<std::size_t>(end - line.data()));
  return value;
}

// Whether a line "first-inside first-outside count" of a map covers `id`. SPEC: user_namespaces(7)
bool is_mapped(std::string_view map, std::uint32_t id) {
  while (!map.empty()) {
    std::string_view line = map.substr(0, map.find('\n'));
    map.remove_prefix(std::min(line.size() + 1, map.size()));
    const std::uint64_t inside = take_number(line);
    (void)take_number(line);
    const std::uint64_t count = take_number(line);
    if (id >= inside && id - inside < count) return true;
  }
  return false;
}

// To become somebody else, and to kill who that is.
bool may_change_ids() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data{};
  if (::syscall(SYS_capget, &header, data.data()) != 0) return false;
  constexpr std::uint32_t kNeeded = 1u << CAP_SETUID | 1u << CAP_SETGID | 1u << CAP_KILL;
  return (data[0].effective & kNeeded) == kNeeded &&
         !base::read_pseudo_file("/proc/self/setgroups").starts_with("deny");
}

}  // namespace

std::uint32_t choose_guest_id(std::string_view uid_map, std::string_view gid_map, std::uint32_t random) {
  for (const std::uint32_t id : {kGuestIdBase | (random & kGuestIdMask), kNobody}) {
    if (is_mapped(uid_map, id) && is_mapped(gid_map, id)) return id;
  }
  return 0;
}

base::Result<std::uint32_t> guest_id() {
  if (::geteuid() != 0 || !may_change_ids()) return std::uint32_t{0};
  std::uint32_t random = 0;
  if (::getrandom(&random, sizeof random, 0) != static_cast<ssize_t>(sizeof random)) {
    return base::os_error("choose a user id for a guest");
  }
  return choose_guest_id(base::read_pseudo_file("/proc/self/uid_map"), base::read_pseudo_file("/proc/self/gid_map"),
                         random);
}

base::Result<std::uint32_t> GuestIds::take() {
  constexpr int kTries = 64;  // of 16 million ids: never two in a row in practice
  for (int i = 0; i < kTries; ++i) {
    SANDFORGE_TRY(const std::uint32_t id, choose_());
    if (id < kGuestIdBase || used_.insert(id).second) return id;
  }
  return base::make_error(base::Code::Exhausted, "guest_ids", "no user id that no other guest has was found",
                          "try again, or destroy sandboxes");
}

}  // namespace sandforge::backend
