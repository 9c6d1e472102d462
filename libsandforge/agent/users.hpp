// SPDX-License-Identifier: Apache-2.0
// Users of the guest, from its own /etc/passwd and /etc/group. Their text is hostile: bad lines are passed over.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace sandforge::agent {

struct User {
  uid_t uid = 0;
  gid_t gid = 0;
  std::string home = "/root";
  std::vector<gid_t> groups;  // supplementary, without gid
};

// `wanted` is a name or a number, optionally ":group" (name or number). A number needs no entry; not_found for a name
// without one. At most limits::kUserGroupsMax supplementary groups are kept.
base::Result<User> find_user(std::string_view passwd, std::string_view group, std::string_view wanted);

// The same, reading the files below the root directory `root`. BLOCKS as its file system does: not on the loop.
base::Result<User> load_user(int root, std::string_view wanted);

}  // namespace sandforge::agent
