// SPDX-License-Identifier: Apache-2.0
// Users of the guest, whose files are hostile text.
#include "agent/users.hpp"

#include <doctest/doctest.h>

#include <string>

#include "base/limits.hpp"

using namespace sandforge;
using agent::find_user;

namespace {
constexpr const char* kPasswd =
    "root:x:0:0:root:/root:/bin/bash\n"
    "broken line\n"
    ":x:5:5::/:\n"
    "minus:x:4294967295:1::/:\n"
    "huge:x:99999999999999:1::/:\n"
    "ann:x:1000:100:Ann:/home/ann:/bin/sh\n"
    "relative:x:1001:100:::\n";
constexpr const char* kGroup =
    "root:x:0:\n"
    "users:x:100:ann\n"
    "video:x:44:bob,ann\n"
    "almost:x:45:annabel,joann\n"
    "bad:x:notanumber:ann\n"
    "audio:x:29:ann";
}  // namespace

TEST_CASE("a name gives uid, gid, home and the groups that list it") {
  const auto user = find_user(kPasswd, kGroup, "ann");
  REQUIRE(user);
  CHECK(user.value().uid == 1000);
  CHECK(user.value().gid == 100);
  CHECK(user.value().home == "/home/ann");
  CHECK(user.value().groups == std::vector<gid_t>{44, 29});
}

TEST_CASE("a number needs no entry, and uses one that is there") {
  REQUIRE(find_user(kPasswd, kGroup, "4321"));
  CHECK(find_user(kPasswd, kGroup, "4321").value().uid == 4321);
  CHECK(find_user(kPasswd, kGroup, "4321").value().home == "/");
  CHECK(find_user(kPasswd, kGroup, "1000").value().home == "/home/ann");
  CHECK(find_user("", "", "0").value().home == "/root");
}

TEST_CASE("a group after a colon replaces the user's own ones") {
  const auto user = find_user(kPasswd, kGroup, "ann:video");
  REQUIRE(user);
  CHECK(user.value().gid == 44);
  CHECK(user.value().groups.empty());
  CHECK(find_user(kPasswd, kGroup, "ann:77").value().gid == 77);
  CHECK_FALSE(find_user(kPasswd, kGroup, "ann:nogroup"));
}

TEST_CASE("names that are not there, and ids that cannot be, are refused") {
  for (const char* name : {"nobody", "", "minus", "huge", "broken line", "4294967295", "-1", "0x0", "ann "}) {
    CAPTURE(name);
    const auto user = find_user(kPasswd, kGroup, name);
    REQUIRE_FALSE(user);
    CHECK(user.error().code == base::Code::NotFound);
  }
}

TEST_CASE("a home that is no absolute path becomes the root directory") {
  CHECK(find_user(kPasswd, kGroup, "relative").value().home == "/");
}

TEST_CASE("a user in thousands of groups keeps a bounded number of them") {
  std::string group;
  for (int i = 1; i < 5000; ++i) group += "g" + std::to_string(i) + ":x:" + std::to_string(i + 2000) + ":ann\n";
  CHECK(find_user(kPasswd, group, "ann").value().groups.size() == limits::kUserGroupsMax);
}
