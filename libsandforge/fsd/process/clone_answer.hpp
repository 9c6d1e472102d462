// SPDX-License-Identifier: Apache-2.0
// What `sandforge-fsd clone ro|rw` says: it clones the mount of the directory on descriptor 3 in namespaces of its own
// and sends one packet on descriptor 4, with the clone (SCM_RIGHTS) or without one and with the reason.
#pragma once

#include <cstdint>
#include <string>

namespace sandforge::fsd {

inline constexpr int kCloneDirectoryFd = 3, kCloneSocketFd = 4;
inline constexpr std::size_t kCloneAnswerBytesMax = 8192;

struct CloneAnswer {
  static constexpr const char* kName = "clone answer";
  std::uint32_t code = 0;  // base::Code
  std::uint32_t os_errno = 0;
  std::string reason, message, remedy;

  template <typename Archive, typename Self>
  static void fields(Archive& archive, Self& self) {
    archive(self.code);
    archive(self.os_errno);
    archive.text(self.reason, 64);
    archive.text(self.message, 4600);
    archive.text(self.remedy, 1024);
  }
};

}  // namespace sandforge::fsd
