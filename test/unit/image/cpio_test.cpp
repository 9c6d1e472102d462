// SPDX-License-Identifier: Apache-2.0
#include "image/cpio.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "image/store.hpp"
#include "scratch.hpp"

namespace sandforge::image {
namespace {

using test::Scratch;

struct Entry {
  std::string name, content;
  unsigned long inode = 0, mode = 0, owner = 0, time = 0, major = 0, minor = 0;
};

// Reads newc archives, several in a row too, as the kernel does.
std::vector<Entry> read_newc(const std::string& bytes) {
  std::vector<Entry> entries;
  std::size_t at = 0;
  while (at < bytes.size()) {
    if (bytes[at] == '\0') {
      ++at;
      continue;
    }
    REQUIRE(bytes.compare(at, 6, "070701") == 0);
    const auto field = [&](std::size_t index) {
      return std::strtoul(bytes.substr(at + 6 + index * 8, 8).c_str(), nullptr, 16);
    };
    const std::size_t name_size = field(11), size = field(6);
    Entry entry;
    entry.inode = field(0);
    entry.mode = field(1);
    entry.owner = field(2) + field(3);
    entry.time = field(5);
    entry.major = field(9);
    entry.minor = field(10);
    entry.name = bytes.substr(at + 110, name_size - 1);
    std::size_t content = at + 110 + name_size;
    content += (4 - content % 4) % 4;
    entry.content = bytes.substr(content, size);
    at = content + size;
    at += (4 - at % 4) % 4;
    if (entry.name != "TRAILER!!!") entries.push_back(entry);
  }
  return entries;
}

std::string sample() {
  CpioWriter writer;
  writer.directory("dev");
  writer.character_device("dev/console", 5, 1);
  writer.file("init", "hello", 0755);
  writer.file("empty", "");
  return std::move(writer).finish();
}

TEST_CASE("a cpio archive gives back what was put in, with owner and time 0") {
  const std::vector<Entry> entries = read_newc(sample());

  REQUIRE(entries.size() == 4);
  CHECK(entries[0].mode == (S_IFDIR | 0755));
  CHECK(entries[1].name == "dev/console");
  CHECK(entries[1].mode == (S_IFCHR | 0600));
  CHECK(entries[1].major == 5);
  CHECK(entries[1].minor == 1);
  CHECK(entries[2].content == "hello");
  CHECK(entries[2].mode == (S_IFREG | 0755));
  CHECK(entries[3].content.empty());
  for (std::size_t i = 0; i < entries.size(); ++i) {
    CHECK(entries[i].inode == i + 1);
    CHECK(entries[i].owner == 0);
    CHECK(entries[i].time == 0);
  }
}

TEST_CASE("the same calls give the same archive, padded to whole sectors") {
  CHECK(sample() == sample());
  CHECK(sample().size() % 512 == 0);
}

TEST_CASE("an initrd holds the agent as /init, the device nodes, and the image's modules, and is made once") {
  Scratch scratch;
  CpioWriter modules;
  modules.directory("modules");
  modules.file("modules/order", "00-a.ko\n");
  const std::string archive = std::move(modules).finish();
  BootFiles files;
  files.modules = scratch.write("blobs/0123", archive);
  const auto agent = scratch.write("agent", "ELF");

  const auto first = make_initrd(files, agent, scratch / "cache");
  REQUIRE(first);
  const auto entries = read_newc(test::slurp(first.value()));
  const auto time = std::filesystem::last_write_time(first.value());
  const auto second = make_initrd(files, agent, scratch / "cache");

  REQUIRE(second);
  CHECK(second.value() == first.value());
  CHECK(std::filesystem::last_write_time(first.value()) == time);
  std::vector<std::string> names;
  for (const Entry& entry : entries) names.push_back(entry.name);
  CHECK(names == std::vector<std::string>{"dev", "newroot", "proc", "run", "sys", "dev/console", "dev/null", "init",
                                          "modules", "modules/order"});
  // Cut short since: not handed to a guest, but made anew.
  const std::string whole = test::slurp(first.value());
  for (const std::uintmax_t bytes : {whole.size() - 1, std::size_t{0}}) {
    std::filesystem::resize_file(first.value(), bytes);
    REQUIRE(make_initrd(files, agent, scratch / "cache"));
    CHECK(test::slurp(first.value()) == whole);
  }
  scratch.write("agent", "ELF, another");
  const auto third = make_initrd(files, agent, scratch / "cache");
  REQUIRE(third);
  CHECK(third.value() != first.value());
}

TEST_CASE("an initrd can be read by every user id, whatever the umask says") {
  Scratch scratch;
  BootFiles files;
  files.modules = scratch.write("blobs/0123", "");
  const auto agent = scratch.write("agent", "ELF");

  const mode_t before = ::umask(077);
  const auto made = make_initrd(files, agent, scratch / "cache");
  ::umask(before);

  REQUIRE(made);
  struct stat status {};
  REQUIRE(::stat(made.value().c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0444);
}

TEST_CASE("an initrd without an agent to put in is an error that names the file") {
  Scratch scratch;
  const auto made = make_initrd({}, scratch / "absent", scratch.path());
  REQUIRE_FALSE(made);
  CHECK(made.error().code == base::Code::NotFound);
  CHECK(made.error().message.find("absent") != std::string::npos);
}

}  // namespace
}  // namespace sandforge::image
