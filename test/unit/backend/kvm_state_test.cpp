// SPDX-License-Identifier: Apache-2.0
#include "backend/kvm_state.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace sandforge::backend;

namespace {
const std::string kPlain = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime 0 0\n";
const std::string kFavoured = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,favordynmods 0 0\n";
}  // namespace

TEST_CASE("a device that is not there is missing, and one that is no KVM does not pass for it") {
  CHECK(kvm_state("/nonexistent/kvm") == KvmState::Missing);
  CHECK(kvm_state("/dev/null") == KvmState::Broken);
}

TEST_CASE("each state but Usable has a finding and a remedy") {
  for (const KvmState state : {KvmState::Missing, KvmState::Denied, KvmState::NotHardware, KvmState::Broken}) {
    CHECK(std::string(explain(state).finding) != "");
    CHECK(std::string(explain(state).remedy) != "");
  }
  CHECK(std::string(explain(KvmState::Usable).finding) == "");
}

TEST_CASE("host settings that slow down every new machine are found, with the remedy that suits the CPU") {
  CHECK(std::string(slow_settings("N\n", "Not affected\n", kPlain).remedy).find("nx_huge_pages=never") !=
        std::string::npos);
  CHECK(std::string(slow_settings("Y\n", "KVM: Mitigation: Split huge pages\n", kPlain).remedy).find("favordynmods") !=
        std::string::npos);
}

TEST_CASE("host settings that are well, or that this kernel does not have, are not reported") {
  CHECK(std::string(slow_settings("never\n", "Not affected\n", kPlain).finding) == "");
  CHECK(std::string(slow_settings("N\n", "Not affected\n", kFavoured).finding) == "");
  CHECK(std::string(slow_settings("", "", kPlain).finding) == "");
  CHECK(std::string(slow_settings("N\n", "Not affected\n", "proc /proc proc rw 0 0\n").finding) == "");
}
