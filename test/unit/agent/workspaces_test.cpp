// SPDX-License-Identifier: Apache-2.0
#include "agent/workspaces.hpp"

#include <doctest/doctest.h>

using namespace sandforge;

TEST_CASE("a workspace may be anywhere below the root of the guest") {
  for (const char* path : {"/work", "/a/b/c", "/process", "/device/x", "/srv/data ü", "/...", "/work/"}) {
    INFO(path);
    CHECK(agent::check_guest_path(path));
  }
}

TEST_CASE("a workspace is refused where it would hide the guest from itself, or could mean two places") {
  const std::string nul("/a\0b", 4);
  for (const std::string& path :
       {std::string(), std::string("/"), std::string("//"), std::string("work"), std::string("/proc"),
        std::string("/proc/x"), std::string("/sys"), std::string("/dev/shm"), std::string("/a/../b"),
        std::string("/./a"), std::string("/a//b"), std::string("/.."), nul}) {
    INFO(path);
    CHECK_FALSE(agent::check_guest_path(path));
  }
}
