// SPDX-License-Identifier: Apache-2.0
// Paths inside a root that wants to be left: symlinks, `..` and magic links end inside, special files are not opened.
#include "agent/rooted_path.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "agent/remove_tree.hpp"
#include "agent/small_io.hpp"

using namespace sandforge;
namespace fs = std::filesystem;

namespace {
// A directory "root" beside a file "secret".
class Tree {
 public:
  Tree() {
    char name[] = "/tmp/sandforge-rooted-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    top = name;
    fs::create_directories(top / "root/etc");
    std::ofstream(top / "secret") << "outside";
    std::ofstream(top / "root/secret") << "inside";
    root.reset(::open((top / "root").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  ~Tree() { fs::remove_all(top); }

  std::string read(const std::string& path) const {
    const auto file = agent::open_regular(root.get(), path);
    if (!file) return "error " + std::to_string(file.error().os_errno);
    return agent::read_open_file(file.value().get()).value();
  }

  fs::path top;
  base::UniqueFd root;
};
}  // namespace

TEST_CASE("no link and no dots lead out of the root") {
  const Tree tree;
  fs::create_symlink("../secret", tree.top / "root/up");
  fs::create_symlink(tree.top / "secret", tree.top / "root/absolute");
  fs::create_symlink("../../../../../secret", tree.top / "root/etc/far");
  CHECK(tree.read("/secret") == "inside");
  CHECK(tree.read("/../secret") == "inside");
  CHECK(tree.read("/etc/../../secret") == "inside");
  CHECK(tree.read("/up") == "inside");
  CHECK(tree.read("/etc/far") == "inside");
  CHECK(tree.read("/absolute") == "error " + std::to_string(ENOENT));
}

TEST_CASE("only regular files are opened for reading") {
  const Tree tree;
  REQUIRE(::mkfifo((tree.top / "root/fifo").c_str(), 0600) == 0);
  CHECK(agent::open_regular(tree.root.get(), "/fifo").error().reason == "not_a_file");
  CHECK(agent::open_regular(tree.root.get(), "/etc").error().os_errno == EISDIR);
}

TEST_CASE("paths that are none are refused") {
  for (const std::string& path :
       {std::string(), std::string("relative"), std::string("/a\0b", 4), std::string(5000, '/')}) {
    CHECK(agent::check_path(path).error().code == base::Code::InvalidArgument);
  }
  const Tree tree;
  for (const char* path : {"/", "//", "/etc/.", "/etc/..", "/.."}) {
    CAPTURE(path);
    CHECK_FALSE(agent::open_parent(tree.root.get(), path));
  }
  CHECK(agent::open_parent(tree.root.get(), "/etc//name///").value().name == "name");
}

TEST_CASE("missing directories are made, through links too, and never over a file") {
  const Tree tree;
  fs::create_symlink("/etc", tree.top / "root/link");
  CHECK(agent::make_directories(tree.root.get(), "/a//b/./c/../d/", 0755));
  CHECK(fs::is_directory(tree.top / "root/a/b/d"));
  CHECK(agent::make_directories(tree.root.get(), "/link/sub", 0700));
  CHECK(fs::is_directory(tree.top / "root/etc/sub"));
  CHECK_FALSE(agent::make_directories(tree.root.get(), "/secret/sub", 0755));
}

TEST_CASE("a tree is removed without following its links") {
  const Tree tree;
  fs::create_directories(tree.top / "root/gone/deep/er");
  std::ofstream(tree.top / "root/gone/deep/file") << "x";
  fs::create_directory_symlink(tree.top / "root/etc", tree.top / "root/gone/link");
  std::ofstream(tree.top / "root/etc/kept") << "x";
  const auto never = [] { return false; };
  CHECK(agent::remove_tree(tree.root.get(), "gone", never));
  CHECK_FALSE(fs::exists(tree.top / "root/gone"));
  CHECK(fs::exists(tree.top / "root/etc/kept"));
  fs::create_directory_symlink("etc", tree.top / "root/alias");
  CHECK_FALSE(agent::remove_tree(tree.root.get(), "alias", never));
  CHECK(fs::exists(tree.top / "root/etc/kept"));
}
