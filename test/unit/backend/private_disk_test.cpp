// SPDX-License-Identifier: Apache-2.0
// make_private_disk: sparse, exact, a valid ext4 with the features that are promised. Needs e2fsprogs.
#include "backend/private_disk.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "base/limits.hpp"
#include "base/process.hpp"
#include "base/unique_fd.hpp"

using namespace sandforge;

namespace {

struct Directory {
  Directory() {
    char name[] = "/tmp/sandforge-disk-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path = name;
  }
  ~Directory() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

base::RunResult tool(const char* name, std::vector<std::string> args) {
  base::SpawnOptions options;
  options.program = base::find_program(name, "/usr/sbin:/sbin");
  REQUIRE_FALSE(options.program.empty());
  options.args = std::move(args);
  auto result = base::run(std::move(options));
  REQUIRE(result);
  return std::move(result).value();
}

}  // namespace

TEST_CASE("a private disk has exactly the size asked for, takes almost no room and is private to its owner") {
  Directory directory;
  const auto file = directory.path / "disk";
  REQUIRE(backend::make_private_disk(file, 10 * limits::kGiB));
  struct stat info {};
  REQUIRE(::stat(file.c_str(), &info) == 0);
  CHECK(static_cast<std::uint64_t>(info.st_size) == 10 * limits::kGiB);
  CHECK(static_cast<std::uint64_t>(info.st_blocks) * 512 < limits::kMiB);
  CHECK((info.st_mode & 0777) == 0600);
}

TEST_CASE("a private disk is an ext4 that e2fsck accepts, without a journal") {
  Directory directory;
  const auto file = directory.path / "disk";
  REQUIRE(backend::make_private_disk(file, limits::kGiB));
  CHECK(tool("e2fsck", {"-f", "-n", file}).ok());
  const std::string header = tool("dumpe2fs", {"-h", file}).out;
  CHECK(header.find("extent") != std::string::npos);
  CHECK(header.find("ext_attr") != std::string::npos);
  CHECK(header.find("has_journal") == std::string::npos);
  CHECK(header.find("Reserved block count:     0\n") != std::string::npos);
}

TEST_CASE("the largest private disk can be made") {
  Directory directory;
  const auto file = directory.path / "disk";
  REQUIRE(backend::make_private_disk(file, limits::kDiskGbMax * limits::kGiB));
  CHECK(tool("dumpe2fs", {"-h", file}).ok());
}

TEST_CASE("a private disk never replaces a file that is there") {
  Directory directory;
  const auto file = directory.path / "disk";
  std::ofstream(file) << "precious";
  auto status = backend::make_private_disk(file, limits::kGiB);
  REQUIRE_FALSE(status);
  CHECK(status.error().code == base::Code::Conflict);
  CHECK(std::filesystem::file_size(file) == 8);
}

TEST_CASE("a private disk too small for a file system is refused and leaves nothing behind") {
  Directory directory;
  auto status = backend::make_private_disk(directory.path / "disk", limits::kMiB);
  REQUIRE_FALSE(status);
  CHECK(status.error().code == base::Code::InvalidArgument);
  CHECK(std::filesystem::is_empty(directory.path));
}
