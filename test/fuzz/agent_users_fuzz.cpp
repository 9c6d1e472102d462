// SPDX-License-Identifier: Apache-2.0
// /etc/passwd and /etc/group of a guest, whose text is whatever its root wrote.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "agent/users.hpp"
#include "base/limits.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string_view wanted = text.substr(0, text.find('\n'));
  for (const std::string_view name : {wanted, std::string_view("ann"), std::string_view("1000:users")}) {
    const auto user = sandforge::agent::find_user(text, text, name);
    if (user && (user.value().uid == UINT32_MAX || user.value().groups.size() > sandforge::limits::kUserGroupsMax ||
                 user.value().home.empty() || user.value().home.front() != '/')) {
      __builtin_trap();
    }
  }
  return 0;
}
