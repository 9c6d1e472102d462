// SPDX-License-Identifier: Apache-2.0
// Between the verdict about a directory and its opening: what is opened is what was judged, or nothing.
#include "engine/host_directory.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <thread>

using namespace sandforge::engine;
using sandforge::base::Code;
namespace fs = std::filesystem;
namespace policy = sandforge::policy;

namespace {

class Host {
 public:
  Host() {
    std::string pattern = (fs::temp_directory_path() / "sandforge-judged-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    root = fs::canonical(pattern);
    for (const char* name : {"good", "other", "secret"}) fs::create_directory(root / name);
    policy = policy::defaults(policy::Audience::Library);
    policy.host.uid = ::geteuid();
    policy.block.value = {(root / "secret").string()};
  }
  ~Host() {
    std::error_code ignored;
    fs::remove_all(root, ignored);
  }
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  policy::ResolvedDirectory judge(const char* name) const {
    const auto judged = policy::evaluate_mount(policy, (root / name).string(), false);
    REQUIRE(judged.verdict.allowed);
    return judged.directory;
  }

  fs::path root;
  policy::Policy policy;
};

ino_t inode_of(int fd) {
  struct stat info {};
  REQUIRE(::fstat(fd, &info) == 0);
  return info.st_ino;
}

ino_t inode_at(const fs::path& path) {
  struct stat info {};
  REQUIRE(::stat(path.c_str(), &info) == 0);
  return info.st_ino;
}

}  // namespace

TEST_CASE("a judged directory is opened, and one that was replaced, removed or made a symlink is not") {
  const Host host;
  const auto judged = host.judge("good");
  {
    const auto opened = open_judged(judged);
    REQUIRE(opened);
    CHECK(inode_of(opened.value().get()) == judged.inode);
  }
  const auto refused = [&] {
    const auto opened = open_judged(judged);
    REQUIRE_FALSE(opened);
    CHECK(opened.error().code == Code::Busy);
    CHECK(opened.error().reason == "host_path_changed");
    CHECK_FALSE(opened.error().remedy.empty());
  };
  fs::rename(host.root / "good", host.root / "moved");
  refused();
  fs::create_directory(host.root / "good");
  refused();
  fs::remove(host.root / "good");
  fs::create_directory_symlink(host.root / "secret", host.root / "good");
  refused();
}

TEST_CASE("a name that changes all the time never leads to what is blocked") {
  const Host host;
  const ino_t good = inode_at(host.root / "good"), other = inode_at(host.root / "other");
  fs::create_directory_symlink(host.root / "good", host.root / "name");
  std::atomic<bool> stop{false};
  std::thread changer([&] {
    const char* targets[] = {"secret", "good", "other"};
    for (std::size_t i = 0; !stop; ++i) {
      std::error_code ignored;
      fs::create_directory_symlink(host.root / targets[i % 3], host.root / "next", ignored);
      fs::rename(host.root / "next", host.root / "name", ignored);
    }
  });
  std::size_t opened = 0, blocked = 0;
  bool escaped = false;
  for (int i = 0; i < 10'000; ++i) {
    const auto result = open_host_directory(host.policy, {(host.root / "name").string(), "/w", false});
    if (result) {
      ++opened;
      const ino_t inode = inode_of(result.value().get());
      escaped = escaped || (inode != good && inode != other);
    } else if (result.error().reason == "policy_denied") {
      ++blocked;
    } else if (result.error().reason != "host_path_changed") {
      MESSAGE(result.error().message);
      escaped = true;
    }
  }
  stop = true;
  changer.join();
  CHECK_FALSE(escaped);
  CHECK(opened > 0);
  CHECK(blocked > 0);
}
