// SPDX-License-Identifier: Apache-2.0
// PassedDescriptor: the room that one descriptor takes beside a message over a Unix socket (SCM_RIGHTS).
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstring>

#include "base/unique_fd.hpp"

namespace sandforge::fsd {

class PassedDescriptor {
 public:
  // Room in a message that is to be received; this outlives the message.
  void make_room(msghdr& message) noexcept {
    message.msg_control = space_.data();
    message.msg_controllen = space_.size();
  }
  // `fd`, borrowed, goes with a message that is to be sent; this outlives the message.
  void give(msghdr& message, int fd) noexcept {
    make_room(message);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  // The first descriptor that came with a message; others are closed.
  static base::UniqueFd take(msghdr& message) noexcept {
    base::UniqueFd first;
    for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
      if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
      const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (std::size_t i = 0; i < count; ++i) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
        base::UniqueFd one(fd);
        if (!first) first = std::move(one);
      }
    }
    return first;
  }

 private:
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> space_{};
};

}  // namespace sandforge::fsd
