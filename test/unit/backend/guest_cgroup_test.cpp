// SPDX-License-Identifier: Apache-2.0
// Which limits a place has. Ordinary files stand for those of the kernel; test/kvm/jail_test.py sees real ones.
#include "backend/guest_cgroup.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>

using namespace sandforge;
namespace fs = std::filesystem;

namespace {

struct Folder {
  Folder() {
    char name[] = "/tmp/sandforge-cgroup-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path = name;
  }
  ~Folder() { fs::remove_all(path); }
  void file(const char* name, const char* text) const { std::ofstream(path / name) << text << "\n"; }
  std::string text(const char* name) const {
    std::string line;
    std::ifstream in(path / name);
    std::getline(in, line);
    return line;
  }
  fs::path path;
};

std::string names_of(const backend::CgroupPlace& place) {
  std::string names;
  for (const auto& setting : backend::cgroup_settings(place, {1 << 20, 9, 2})) {
    names += std::string(setting.file) + "=" + setting.value + ";";
  }
  return names;
}

}  // namespace

TEST_CASE("where every controller is on, all limits are set, and nothing is switched") {
  const Folder folder;
  folder.file("cgroup.controllers", "cpuset cpu io memory pids");
  folder.file("cgroup.subtree_control", "cpu memory pids");
  const backend::CgroupPlace place = backend::open_cgroup_place(folder.path);
  CHECK(place.describe() == "limits by control groups");
  CHECK(folder.text("cgroup.subtree_control") == "cpu memory pids");
  CHECK(names_of(place) == "memory.max=1048576;memory.swap.max=0;memory.oom.group=1;pids.max=9;cpu.max=200000 100000;");
}

TEST_CASE("a controller that is off is switched on") {
  const Folder folder;
  folder.file("cgroup.controllers", "memory");
  folder.file("cgroup.subtree_control", "");
  CHECK(backend::open_cgroup_place(folder.path).memory);
  CHECK(folder.text("cgroup.subtree_control") == "+memory");
}

TEST_CASE("without the memory controller the other limits are set all the same, and the lack is told") {
  const Folder folder;
  folder.file("cgroup.controllers", "cpu pids");
  folder.file("cgroup.subtree_control", "cpu pids");
  const backend::CgroupPlace place = backend::open_cgroup_place(folder.path);
  CHECK(place.describe() == "limits by control groups, but not of memory");
  CHECK(names_of(place) == "pids.max=9;cpu.max=200000 100000;");
}

TEST_CASE("a place that has controllers and refuses them is no place for limits, and says so") {
  const Folder folder;
  folder.file("cgroup.controllers", "cpu memory pids");
  // Every write to it fails, as in a container's root that has processes of its own.
  fs::create_symlink("/dev/full", folder.path / "cgroup.subtree_control");
  const backend::CgroupPlace place = backend::open_cgroup_place(folder.path);
  CHECK(place.describe() == "no control groups for limits");
  CHECK(backend::CgroupPlace().describe() == "no control groups for limits");
  const auto group = backend::GuestCgroup::create(place, "1-2", {});
  REQUIRE(group);
  CHECK(group.value().path().empty());
}

TEST_CASE("of the groups that were left behind, an engine removes its own and the empty ones only") {
  const Folder folder;
  const std::string owner = backend::cgroup_owner(folder.path);
  REQUIRE_FALSE(owner.empty());
  CHECK(backend::cgroup_owner(folder.path / "none").empty());
  for (const std::string& name : {owner + "-17", owner + "-18", owner + "0-17", std::string("other")}) {
    fs::create_directory(folder.path / ("sandforge-guest-" + name));
  }
  std::ofstream(folder.path / ("sandforge-guest-" + owner + "-18") / "inhabitant") << "1";
  CHECK(backend::remove_leftover_cgroups(folder.path, owner) == 1);
  CHECK_FALSE(fs::exists(folder.path / ("sandforge-guest-" + owner + "-17")));
  CHECK(fs::exists(folder.path / ("sandforge-guest-" + owner + "-18")));
  CHECK(fs::exists(folder.path / ("sandforge-guest-" + owner + "0-17")));
  CHECK(backend::remove_leftover_cgroups(folder.path, "") == 0);
  CHECK(backend::remove_leftover_cgroups("", owner) == 0);
}
