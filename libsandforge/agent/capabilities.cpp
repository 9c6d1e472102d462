// SPDX-License-Identifier: Apache-2.0
#include "agent/capabilities.hpp"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace sandforge::agent {

int bound_capabilities(std::uint64_t kept) noexcept {
  for (unsigned number = 0; number < 64; ++number) {
    if ((kept & capability_bit(number)) != 0) continue;
    // EINVAL: beyond the last one that this kernel knows.
    if (::prctl(PR_CAPBSET_DROP, number, 0, 0, 0) != 0) return errno == EINVAL ? 0 : errno;
  }
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  return 0;
}

int set_capabilities(std::uint64_t kept) noexcept {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  data[0].permitted = data[0].effective = static_cast<std::uint32_t>(kept);
  data[1].permitted = data[1].effective = static_cast<std::uint32_t>(kept >> 32);
  return ::syscall(SYS_capset, &header, data) == 0 ? 0 : errno;
}

}  // namespace sandforge::agent
