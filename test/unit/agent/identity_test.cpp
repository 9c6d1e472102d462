// SPDX-License-Identifier: Apache-2.0
// Identity: what is refused, and the files that are written below a root.
#include "agent/identity.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/unique_fd.hpp"

using namespace sandforge;
namespace fs = std::filesystem;

namespace {
std::string text_of(const fs::path& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}
}  // namespace

TEST_CASE("names and ids that are none are refused") {
  CHECK(agent::check_identity("", ""));
  CHECK(agent::check_identity("sbx-1.example", "0123456789abcdef0123456789abcdef"));
  for (const char* name : {"a b", "a/b", "a\nb", "\xff"}) CHECK_FALSE(agent::check_identity(name, ""));
  CHECK_FALSE(agent::check_identity(std::string(64, 'a'), ""));
  CHECK_FALSE(agent::check_identity("", "0123"));
  CHECK_FALSE(agent::check_identity("", "0123456789ABCDEF0123456789ABCDEF"));
}

TEST_CASE("identity is written once and replaces the one before") {
  char name[] = "/tmp/sandforge-identity-XXXXXX";
  REQUIRE(::mkdtemp(name) != nullptr);
  const fs::path top = name;
  fs::create_directories(top / "etc");
  std::ofstream(top / "etc/hosts") << "127.0.0.1 localhost\n10.0.0.1 other\n127.0.1.1\told\n";
  std::ofstream(top / "target") << "untouched";
  fs::create_symlink("/target", top / "etc/machine-id");
  const base::UniqueFd root(::open(name, O_PATH | O_DIRECTORY | O_CLOEXEC));
  const std::string id = "0123456789abcdef0123456789abcdef";

  CHECK_FALSE(agent::set_identity(root.get(), "one", id, false));  // a link in the way is not followed
  CHECK(text_of(top / "target") == "untouched");
  fs::remove(top / "etc/machine-id");
  CHECK(agent::set_identity(root.get(), "one", id, false));
  CHECK(agent::set_identity(root.get(), "two", "", false));
  CHECK(text_of(top / "etc/hostname") == "two\n");
  CHECK(text_of(top / "etc/machine-id") == id + "\n");
  CHECK(text_of(top / "etc/hosts") == "127.0.0.1 localhost\n10.0.0.1 other\n127.0.1.1\ttwo\n");
  fs::remove_all(top);
}
