// SPDX-License-Identifier: Apache-2.0
// What is found and what is used are two things: somebody on the host, or in the guest with a second process, renames
// in between. Canary files around the directory must be neither read nor written. SANDFORGE_FSD_ROUNDS sets the length.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <thread>

#include "fsd/bench.hpp"

using namespace sandforge;
using namespace sandforge::fsd;
using namespace sandforge::fsd::test;
namespace fs = std::filesystem;

namespace {

constexpr int kRoundsMin = 10'000;
constexpr const char* kSecret = "nobody may read this";

// outside/canary, outside/folder/canary and share/…: the server is given `share`.
struct Place {
  TemporaryTree tree;
  Place() {
    for (const char* folder : {"outside", "outside/folder", "share", "share/folder"}) {
      fs::create_directory(tree.path() / folder);
    }
    tree.write("outside/canary", kSecret);
    tree.write("outside/folder/canary", kSecret);
    fs::permissions(tree.path() / "outside/canary", fs::perms{0640});
    tree.write("share/victim", "inside");
    tree.write("share/folder/inside", "inside");
    fs::create_symlink("../outside/canary", tree.path() / "share/link");
    fs::create_symlink("../outside/folder", tree.path() / "share/folderlink");
    fs::create_symlink((tree.path() / "outside/canary").string(), tree.path() / "share/absolute");
  }
  std::set<std::string> outside() const {
    std::set<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(tree.path() / "outside")) {
      names.insert(fs::relative(entry.path(), tree.path()).string());
    }
    return names;
  }
};

// Swaps names in `share` until told to stop.
void rename_for_ever(const fs::path& share, const std::atomic<bool>& stop) {
  const base::UniqueFd directory(::open(share.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const std::pair<const char*, const char*> swaps[] = {
      {"victim", "link"}, {"folder", "folderlink"}, {"victim", "absolute"}, {"victim", "folder"}};
  for (std::size_t i = 0; !stop.load(std::memory_order_relaxed); ++i) {
    const auto& [one, other] = swaps[i % std::size(swaps)];
    (void)::renameat2(directory.get(), one, directory.get(), other, RENAME_EXCHANGE);
  }
}

struct Seen {
  int reads = 0, writes = 0, links = 0, folders = 0, refused = 0;
};

void use_file(Bench& bench, std::uint64_t root, const char* name, Seen& seen) {
  const Got found = bench.lookup(root, name);
  if (found.error != 0) return;
  const auto entry = found.as<fuse_entry_out>();
  const Got opened = bench.open(entry.nodeid, O_RDWR);
  if (opened.error == 0) {
    const std::uint64_t fh = opened.as<fuse_open_out>().fh;
    const Got data = bench.read(entry.nodeid, fh, 0, 100);
    CHECK(data.body.find(kSecret) == std::string::npos);
    CHECK(bench.write(entry.nodeid, fh, 0, "inside").error == 0);
    ++seen.reads;
    ++seen.writes;
    fuse_release_in release{};
    release.fh = fh;
    bench.send(Message(FUSE_RELEASE, entry.nodeid).put(release));
  } else {
    ++seen.refused;
    if (S_ISLNK(entry.attr.mode)) {
      CHECK(bench.send(Message(FUSE_READLINK, entry.nodeid)).error == 0);
      ++seen.links;
    }
  }
  fuse_setattr_in in{};
  in.valid = FATTR_MODE | FATTR_SIZE | FATTR_MTIME | FATTR_MTIME_NOW;
  in.mode = 0666;
  in.size = 6;
  bench.setattr(entry.nodeid, in);
  bench.forget(entry.nodeid, 1);
}

void use_folder(Bench& bench, std::uint64_t root, const char* name, Seen& seen) {
  const Got found = bench.lookup(root, name);
  if (found.error != 0) return;
  const auto node = found.as<fuse_entry_out>().nodeid;
  CHECK(bench.lookup(node, "canary").error != 0);
  const Got made = bench.create(node, "made", O_RDWR);
  if (made.error == 0) {
    ++seen.folders;
    const auto entry = made.as<fuse_entry_out>();
    fuse_open_out opened{};
    std::memcpy(&opened, made.body.data() + sizeof entry, sizeof opened);
    fuse_release_in release{};
    release.fh = opened.fh;
    bench.send(Message(FUSE_RELEASE, entry.nodeid).put(release));
    bench.forget(entry.nodeid, 1);
  }
  bench.rename(root, "victim", node, "victim");
  bench.rename(node, "victim", root, "victim");
  bench.send(Message(FUSE_UNLINK, node).text("made"));
  bench.send(Message(FUSE_UNLINK, node).text("canary"));
  bench.forget(node, 1);
}

int rounds() {
  const char* told = std::getenv("SANDFORGE_FSD_ROUNDS");
  return told != nullptr ? std::max(kRoundsMin, std::atoi(told)) : kRoundsMin;
}

}  // namespace

TEST_CASE("whatever is renamed between check and use, nothing outside of the directory is read or written") {
  if (!can_clone()) {
    MESSAGE("skipped: this process may not clone mounts (run the tests as root)");
    return;
  }
  const Place place;
  const auto before = place.outside();
  Bench bench(false, 64);
  bench.attach(1, place.tree.path() / "share", false);
  const std::uint64_t root = bench.node(FUSE_ROOT_ID, "1");
  std::atomic<bool> stop{false};
  std::thread renamer(rename_for_ever, place.tree.path() / "share", std::cref(stop));
  Seen seen;
  const int count = rounds();
  for (int i = 0; i < count; ++i) {
    for (const char* name : {"victim", "link", "absolute"}) use_file(bench, root, name, seen);
    for (const char* name : {"folder", "folderlink"}) use_folder(bench, root, name, seen);
  }
  stop = true;
  renamer.join();
  std::printf("rename race: %d rounds, %d files used, %d links read, %d folders used, %d opens refused\n", count,
              seen.reads, seen.links, seen.folders, seen.refused);
  CHECK(place.outside() == before);
  CHECK(place.tree.read("outside/canary") == kSecret);
  CHECK(place.tree.read("outside/folder/canary") == kSecret);
  struct stat info {};
  REQUIRE(::stat((place.tree.path() / "outside/canary").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0640);
  // The race was one: every way was taken.
  CHECK(seen.reads > 0);
  CHECK(seen.links > 0);
  CHECK(seen.folders > 0);
  CHECK(seen.refused > 0);
}
