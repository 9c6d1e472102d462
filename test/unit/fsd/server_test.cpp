// SPDX-License-Identifier: Apache-2.0
// Requests in order, answered from real directories. Takes the right to clone mounts (root): skipped without it.
#include "fsd/server/server.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "fsd/bench.hpp"

using namespace sandforge;
using namespace sandforge::fsd;
using namespace sandforge::fsd::test;
namespace fs = std::filesystem;

#define NEEDS_MOUNTS()                                                               \
  do {                                                                               \
    if (!can_clone()) {                                                              \
      MESSAGE("skipped: this process may not clone mounts (run the tests as root)"); \
      return;                                                                        \
    }                                                                                \
  } while (false)

TEST_CASE("INIT grants what this server does and nothing else") {
  NEEDS_MOUNTS();
  Bench bench(false, 1024, false);
  CHECK(bench.send(Message(FUSE_GETATTR, 1).put(fuse_getattr_in{})).error == EIO);
  fuse_init_in in{};
  in.major = 7;
  in.minor = 30;
  CHECK(bench.send(Message(FUSE_INIT, 0).put(in)).error == EPROTO);
  in.major = 6;
  CHECK(bench.send(Message(FUSE_INIT, 0).put(in)).error == EPROTO);
  in.major = 8;
  CHECK(bench.send(Message(FUSE_INIT, 0).put(in)).as<fuse_init_out>().major == 7);
  CHECK(bench.send(Message(FUSE_GETATTR, 1).put(fuse_getattr_in{})).error == EIO);
  in.major = 7;
  in.minor = 41;
  in.flags = UINT32_MAX;
  in.max_readahead = UINT32_MAX;
  const auto out = bench.send(Message(FUSE_INIT, 0).put(in)).as<fuse_init_out>();
  CHECK(out.max_write == 1 << 20);
  CHECK(out.max_pages == 256);
  CHECK(out.max_readahead == 1 << 20);
  CHECK((out.flags & (FUSE_WRITEBACK_CACHE | FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS | FUSE_EXPORT_SUPPORT)) == 0);
  CHECK((out.flags & FUSE_ATOMIC_O_TRUNC) != 0);
  in.flags = 0;
  CHECK(bench.send(Message(FUSE_INIT, 0).put(in)).as<fuse_init_out>().flags == 0);
}

TEST_CASE("the root holds the mounts by their numbers, and nobody can change it") {
  NEEDS_MOUNTS();
  Bench bench;
  TemporaryTree other;
  bench.attach(7, other.path(), true);
  CHECK(bench.list(FUSE_ROOT_ID, false).count("7") == 1);
  CHECK(bench.list(FUSE_ROOT_ID, true, 300).size() == 4);  // and the dots
  for (const char* name : {"1", "07", "00", "-1", "64", "0 ", "x", "18446744073709551616"}) {
    CHECK(bench.lookup(FUSE_ROOT_ID, name).error == ENOENT);
  }
  for (const Message& one : mutations(FUSE_ROOT_ID, FUSE_ROOT_ID)) {
    CHECK(bench.send(one).error != 0);
  }
  CHECK(bench.mounts.detach(7) == 0);
  CHECK(bench.lookup(FUSE_ROOT_ID, "7").error == ENOENT);
  CHECK(bench.list(FUSE_ROOT_ID, false).count("7") == 0);
}

TEST_CASE("only a mount of its own with the right flags is served") {
  NEEDS_MOUNTS();
  Bench bench;
  const auto plain = [&] { return base::UniqueFd(::open(bench.tree.path().c_str(), O_PATH | O_DIRECTORY)); };
  CHECK(bench.mounts.attach(1, false, plain()) == EXDEV);
  CHECK(bench.mounts.attach(1, true, base::UniqueFd(::open("/", O_PATH | O_DIRECTORY))) == EPERM);
  CHECK(bench.mounts.attach(64, false, plain()) == EINVAL);
  CHECK(bench.mounts.attach(UINT32_MAX, false, plain()) == EINVAL);
  auto writable = clone_mount(plain().get(), false);
  REQUIRE(writable);
  CHECK(bench.mounts.attach(1, true, std::move(writable).value()) == EPERM);
  auto again = clone_mount(plain().get(), false);
  CHECK(bench.mounts.attach(0, false, std::move(again).value()) == EBUSY);
  CHECK(bench.mounts.detach(1) == ENOENT);
}

TEST_CASE("a file is created, written, read, changed, renamed and removed") {
  NEEDS_MOUNTS();
  const NoUmask as_served;
  Bench bench;
  const Got created = bench.create(bench.root, "file", O_RDWR | O_EXCL, 0640);
  REQUIRE(created.error == 0);
  const auto entry = created.as<fuse_entry_out>();
  fuse_open_out opened{};
  std::memcpy(&opened, created.body.data() + sizeof entry, sizeof opened);
  CHECK((entry.attr.mode & 07777) == 0640);
  CHECK(bench.create(bench.root, "file", O_RDWR | O_EXCL).error == EEXIST);
  CHECK(bench.write(entry.nodeid, opened.fh, 0, "hello world").as<fuse_write_out>().size == 11);
  CHECK(bench.tree.read("file") == "hello world");
  CHECK(bench.write(entry.nodeid, opened.fh, 0, "!", O_APPEND).error == 0);
  CHECK(bench.read(entry.nodeid, opened.fh, 6, 4096).body == "world!");
  CHECK(bench.read(entry.nodeid, opened.fh, 100, 4096).body.empty());
  fuse_setattr_in in{};
  in.valid = FATTR_SIZE | FATTR_MODE | FATTR_MTIME;
  in.size = 5;
  in.mode = 04755;
  in.mtime = 1234567890;
  const auto attr = bench.setattr(entry.nodeid, in).as<fuse_attr_out>().attr;
  CHECK(attr.size == 5);
  CHECK((attr.mode & 07777) == 0755);  // without the set-id bit
  CHECK(attr.mtime == 1234567890);
  CHECK(bench.rename(bench.root, "file", bench.root, "moved").error == 0);
  CHECK(bench.open(entry.nodeid, O_RDONLY).error == 0);  // by the number that it had before
  CHECK(bench.send(Message(FUSE_UNLINK, bench.root).text("moved")).error == 0);
  CHECK_FALSE(fs::exists(bench.tree.path() / "moved"));
  CHECK(bench.read(entry.nodeid, opened.fh, 0, 64).body == "hello");
  CHECK(bench.open(entry.nodeid, O_RDWR).error == 0);  // lent by who has it open
  fuse_release_in release{};
  release.fh = opened.fh;
  CHECK(bench.send(Message(FUSE_RELEASE, entry.nodeid).put(release)).error == 0);
  CHECK(bench.send(Message(FUSE_RELEASE, entry.nodeid).put(release)).error == EBADF);
}

TEST_CASE("files of the directory's owner are root's and a chown to another is refused") {
  NEEDS_MOUNTS();
  Bench bench;
  bench.tree.write("mine", "");
  bench.tree.write("theirs", "");
  REQUIRE(::lchown((bench.tree.path() / "theirs").c_str(), 12345, 12345) == 0);
  const auto mine = bench.lookup(bench.root, "mine").as<fuse_entry_out>();
  const auto theirs = bench.lookup(bench.root, "theirs").as<fuse_entry_out>();
  CHECK(mine.attr.uid == 0);
  CHECK(mine.attr.gid == 0);
  CHECK(theirs.attr.uid == 65534);
  CHECK(theirs.attr.gid == 65534);
  const auto chown = [&](std::uint64_t node, std::uint32_t uid, std::uint32_t gid) {
    fuse_setattr_in in{};
    in.valid = FATTR_UID | FATTR_GID;
    in.uid = uid;
    in.gid = gid;
    return bench.setattr(node, in).error;
  };
  CHECK(chown(mine.nodeid, 0, 0) == 0);
  CHECK(chown(mine.nodeid, 1000, 0) == EPERM);
  CHECK(chown(mine.nodeid, 0, 1000) == EPERM);
  CHECK(chown(theirs.nodeid, 65534, 65534) == 0);
  CHECK(chown(theirs.nodeid, 0, 0) == EPERM);
  struct stat info {};
  REQUIRE(::stat((bench.tree.path() / "theirs").c_str(), &info) == 0);
  CHECK(info.st_uid == 12345);
}

TEST_CASE("a listing tells each name once, whatever the size of the answers") {
  NEEDS_MOUNTS();
  Bench bench;
  for (int i = 0; i < 500; ++i) bench.tree.write("file" + std::to_string(i) + std::string(i % 200, 'x'), "");
  for (const bool plus : {false, true}) {
    for (const std::uint32_t size : {512u, 4096u, 65536u, 1u << 20}) {
      CHECK(bench.list(bench.root, plus, size).size() == 502);
    }
  }
  const Got opened = bench.send(Message(FUSE_OPENDIR, bench.root).put(fuse_open_in{}));
  fuse_read_in in{};
  in.fh = opened.as<fuse_open_out>().fh;
  in.size = 20;  // no record fits
  CHECK(bench.send(Message(FUSE_READDIR, bench.root).put(in)).error == EINVAL);
  in.offset = UINT64_MAX;
  CHECK(bench.send(Message(FUSE_READDIR, bench.root).put(in)).error == EINVAL);
}

TEST_CASE("READDIRPLUS counts a look-up for each entry with a number, and forgetting them frees all") {
  NEEDS_MOUNTS();
  Bench bench;
  for (int i = 0; i < 50; ++i) bench.tree.write(std::to_string(i), "");
  const auto names = bench.list(bench.root, true);
  CHECK(bench.server.inodes().inodes() == 51);
  for (const auto& [name, node] : names) {
    if (node != 0) bench.forget(node, 1);
  }
  CHECK(bench.server.inodes().inodes() == 1);
  CHECK(bench.server.inodes().descriptors() == 1);
}

TEST_CASE("more files than descriptors are served all the same, and each is still itself") {
  NEEDS_MOUNTS();
  constexpr std::uint64_t kDescriptors = 40;
  Bench bench(false, kDescriptors);
  std::vector<std::uint64_t> nodes;
  for (int i = 0; i < 300; ++i) {
    bench.tree.write(std::to_string(i), "text " + std::to_string(i));
    nodes.push_back(bench.node(bench.root, std::to_string(i)));
  }
  for (int i = 0; i < 300; ++i) {
    const Got opened = bench.open(nodes[i], O_RDONLY);
    REQUIRE(opened.error == 0);
    const std::uint64_t fh = opened.as<fuse_open_out>().fh;
    CHECK(bench.read(nodes[i], fh, 0, 100).body == "text " + std::to_string(i));
    fuse_release_in release{};
    release.fh = fh;
    CHECK(bench.send(Message(FUSE_RELEASE, nodes[i]).put(release)).error == 0);
    CHECK(bench.server.inodes().descriptors() <= kDescriptors + 1);
  }
  // Another file in the place of one whose descriptor was closed is not taken for it.
  fs::rename(bench.tree.path() / "1", bench.tree.path() / "0");
  CHECK(bench.send(Message(FUSE_GETATTR, nodes[0]).put(fuse_getattr_in{})).error == ESTALE);
  CHECK(bench.open(nodes[0], O_RDONLY).error == ESTALE);
  CHECK(bench.node(bench.root, "0") == nodes[1]);
  CHECK(bench.open(nodes[1], O_RDONLY).error == 0);
}

TEST_CASE("more directories than descriptors are walked, and found again from the top down") {
  NEEDS_MOUNTS();
  Bench bench(false, 24);
  std::vector<std::uint64_t> nodes{bench.root};
  std::string path;
  for (int i = 0; i < 100; ++i) {
    path += (i == 0 ? "d" : "/d") + std::to_string(i);
    fs::create_directory(bench.tree.path() / path);
    nodes.push_back(bench.node(nodes.back(), "d" + std::to_string(i)));
  }
  bench.tree.write(path + "/file", "deep");
  for (int i = 0; i < 200; ++i) {
    bench.tree.write(std::to_string(i), "x");
    bench.node(bench.root, std::to_string(i));
  }
  const std::uint64_t file = bench.node(nodes.back(), "file");
  CHECK(bench.open(file, O_RDONLY).error == 0);
  CHECK(bench.server.inodes().descriptors() <= 25);
  CHECK(bench.list(nodes[50], true).size() == 3);
  CHECK(bench.rename(nodes.back(), "file", nodes[30], "moved").error == 0);
  CHECK(bench.open(file, O_RDWR).error == 0);
  const Got linked = bench.send(Message(FUSE_LINK, nodes[70]).put(fuse_link_in{file}).text("linked"));
  CHECK(linked.error == 0);
  // A directory of the host's in the place of one that is to be found again.
  fs::rename(bench.tree.path() / "d0", bench.tree.path() / "gone");
  fs::create_directory(bench.tree.path() / "d0");
  for (int i = 0; i < 100; ++i) bench.node(bench.root, std::to_string(i));
  CHECK(bench.lookup(nodes[1], "d1").error == ESTALE);
}

TEST_CASE("a parent that the guest has forgotten survives the rename that takes its last child") {
  NEEDS_MOUNTS();
  Bench bench;
  for (const char* folder : {"from", "to"}) fs::create_directory(bench.tree.path() / folder);
  bench.tree.write("from/a", "a");
  bench.tree.write("to/b", "b");
  const std::uint64_t from = bench.node(bench.root, "from"), to = bench.node(bench.root, "to");
  (void)bench.node(from, "a");
  bench.forget(from, 1);  // its child still needs it
  CHECK(bench.rename(from, "a", to, "b", RENAME_EXCHANGE).error == 0);
  CHECK(bench.tree.read("from/a") == "b");
  CHECK(bench.lookup(from, "a").error == ESTALE);
}

TEST_CASE("open files end at half the budget, with an error and no harm") {
  NEEDS_MOUNTS();
  Bench bench(false, 40);
  bench.tree.write("file", "x");
  const std::uint64_t node = bench.node(bench.root, "file");
  int opened = 0;
  while (bench.open(node, O_RDONLY).error == 0) ++opened;
  CHECK(opened == 20);
  CHECK(bench.open(node, O_RDONLY).error == ENFILE);
  CHECK(bench.lookup(bench.root, "file").error == 0);
}

TEST_CASE("the cache is kept while size and time of a file are unchanged") {
  NEEDS_MOUNTS();
  Bench bench;
  bench.tree.write("file", "one");
  const std::uint64_t node = bench.node(bench.root, "file");
  const auto keeps = [&] {
    return (bench.open(node, O_RDONLY).as<fuse_open_out>().open_flags & FOPEN_KEEP_CACHE) != 0;
  };
  CHECK_FALSE(keeps());
  CHECK(keeps());
  bench.tree.write("file", "three");
  CHECK_FALSE(keeps());
  CHECK(keeps());
}

TEST_CASE("links, symbolic links and files without a name are made") {
  NEEDS_MOUNTS();
  Bench bench;
  bench.tree.write("file", "x");
  const std::uint64_t node = bench.node(bench.root, "file");
  const Got linked = bench.send(Message(FUSE_LINK, bench.root).put(fuse_link_in{node}).text("second"));
  REQUIRE(linked.error == 0);
  CHECK(linked.as<fuse_entry_out>().nodeid == node);
  CHECK(linked.as<fuse_entry_out>().attr.nlink == 2);
  const Got symbolic = bench.send(Message(FUSE_SYMLINK, bench.root).text("link").text("/etc/passwd"));
  REQUIRE(symbolic.error == 0);
  const std::uint64_t link = symbolic.as<fuse_entry_out>().nodeid;
  CHECK(bench.send(Message(FUSE_READLINK, link)).body == "/etc/passwd");
  CHECK(bench.open(link, O_RDONLY).error == EINVAL);
  CHECK(bench.lookup(link, "x").error == ENOTDIR);
  const Got unnamed = bench.send(Message(FUSE_TMPFILE, bench.root).put(fuse_create_in{O_RDWR, 0600, 0, 0}).text("/"));
  REQUIRE(unnamed.error == 0);
  const auto entry = unnamed.as<fuse_entry_out>();
  CHECK(entry.attr.nlink == 0);
  fuse_open_out opened{};
  std::memcpy(&opened, unnamed.body.data() + sizeof entry, sizeof opened);
  CHECK(bench.write(entry.nodeid, opened.fh, 0, "data").error == 0);
  const Got named = bench.send(Message(FUSE_LINK, bench.root).put(fuse_link_in{entry.nodeid}).text("named"));
  if (named.error == 0) CHECK(bench.tree.read("named") == "data");  // else a kernel before 6.10
}

TEST_CASE("a detached mount answers stale, is let go of, and its number can be used again") {
  NEEDS_MOUNTS();
  Bench bench;
  bench.tree.write("file", "x");
  const std::uint64_t node = bench.node(bench.root, "file");
  const std::uint64_t fh = bench.open(node, O_RDWR).as<fuse_open_out>().fh;
  CHECK(bench.mounts.detach(0) == 0);
  bench.server.sweep();
  CHECK(bench.server.inodes().descriptors() == 0);
  CHECK(bench.send(Message(FUSE_GETATTR, node).put(fuse_getattr_in{})).error == ESTALE);
  CHECK(bench.read(node, fh, 0, 10).error == ESTALE);
  CHECK(bench.lookup(bench.root, "file").error == ESTALE);
  bench.attach(0, bench.tree.path(), false);
  const std::uint64_t again = bench.node(FUSE_ROOT_ID, "0");
  CHECK(again != bench.root);
  CHECK(bench.lookup(again, "file").error == 0);
  CHECK(bench.lookup(bench.root, "file").error == ESTALE);
}

TEST_CASE("a read-only mount refuses each request that changes anything") {
  NEEDS_MOUNTS();
  Bench bench(true);
  bench.tree.write("file", "x");
  fs::create_directory(bench.tree.path() / "folder");
  const std::uint64_t file = bench.node(bench.root, "file");
  for (const Message& one : mutations(bench.root, file)) CHECK(bench.send(one).error == EROFS);
  CHECK(bench.open(file, O_RDONLY).error == 0);
  CHECK(bench.send(Message(FUSE_ACCESS, file).put(fuse_access_in{W_OK, 0})).error == EROFS);
  CHECK(bench.send(Message(FUSE_ACCESS, file).put(fuse_access_in{R_OK, 0})).error == 0);
  CHECK(bench.tree.read("file") == "x");
  CHECK_FALSE(fs::exists(bench.tree.path() / "new"));
}

TEST_CASE("every opcode that the table says mutates is in the list that read-only mounts were tried with") {
  for (const Opcode& opcode : all_opcodes()) {
    if (opcode.mutates == Mutates::No) continue;
    // Answered ENOSYS before any mount is asked.
    if (opcode.number == FUSE_SETXATTR || opcode.number == FUSE_REMOVEXATTR) continue;
    bool listed = false;
    for (const Message& one : mutations(2, 3)) {
      listed = listed || one.opcode() == opcode.number;
    }
    CHECK_MESSAGE(listed, opcode.name);
  }
}
