// SPDX-License-Identifier: Apache-2.0
// Requests that are well-formed and mean harm: whatever a guest's kernel says, it gets an answer or none, the server
// goes on, and nothing is held that was not held before.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdio>
#include <functional>

#include "fsd/bench.hpp"

using namespace sandforge;
using namespace sandforge::fsd;
using namespace sandforge::fsd::test;
namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kMost = UINT64_MAX, kHalf = std::uint64_t{1} << 63;

struct Scene {
  Bench bench;
  std::uint64_t file = 0, folder = 0, link = 0, foreign = 0, foreign_root = 0;
  std::uint64_t fh = 0, directory_fh = 0, foreign_fh = 0;
  TemporaryTree other;

  Scene() {
    bench.tree.write("file", "inside");
    other.write("foreign", "foreign");
    fs::create_directory(bench.tree.path() / "folder");
    fs::create_symlink("/etc", bench.tree.path() / "link");
    REQUIRE(::mkfifo((bench.tree.path() / "fifo").c_str(), 0666) == 0);
    REQUIRE(::mknod((bench.tree.path() / "null").c_str(), S_IFCHR | 0666, makedev(1, 3)) == 0);
    bench.attach(1, other.path(), true);
    foreign_root = bench.node(FUSE_ROOT_ID, "1");
    file = bench.node(bench.root, "file");
    folder = bench.node(bench.root, "folder");
    link = bench.node(bench.root, "link");
    foreign = bench.node(foreign_root, "foreign");
    fh = bench.open(file, O_RDWR).as<fuse_open_out>().fh;
    foreign_fh = bench.open(foreign, O_RDONLY).as<fuse_open_out>().fh;
    directory_fh = bench.send(Message(FUSE_OPENDIR, bench.root).put(fuse_open_in{})).as<fuse_open_out>().fh;
  }
  int error(const Message& message) { return bench.send(message).error; }
  int read(std::uint64_t node, std::uint64_t handle, std::uint64_t offset, std::uint32_t size) {
    return bench.read(node, handle, offset, size).error;
  }
  int list(std::uint32_t opcode, std::uint64_t node, std::uint64_t handle, std::uint64_t offset, std::uint32_t size) {
    fuse_read_in in{};
    in.fh = handle;
    in.offset = offset;
    in.size = size;
    return error(Message(opcode, node).put(in));
  }
};

struct Row {
  std::string name;
  std::function<void(Scene&)> act;
};

void rows_of_numbers(std::vector<Row>& rows) {
  for (const std::uint64_t node : {std::uint64_t{0}, std::uint64_t{2000}, kHalf, kMost}) {
    rows.push_back({"every opcode on node " + std::to_string(node), [=](Scene& s) {
                      for (const Opcode& opcode : all_opcodes()) {
                        // Those are about the whole conversation.
                        if (opcode.number == FUSE_INIT || opcode.number == FUSE_DESTROY) continue;
                        const Got got = s.bench.send(good_message(opcode, node));
                        CHECK_FALSE(got.broken);
                        CHECK(got.answered == opcode.answered);
                        if (got.answered) CHECK_MESSAGE(got.error != 0, opcode.name);
                      }
                    }});
  }
  rows.push_back({"every opcode on a file, a folder, a link and the root", [](Scene& s) {
                    for (const std::uint64_t node : {s.folder, s.link, s.file, s.bench.root, std::uint64_t{1}}) {
                      for (const Opcode& opcode : all_opcodes()) {
                        if (opcode.number == FUSE_INIT || opcode.number == FUSE_DESTROY) continue;
                        if (opcode.number == FUSE_FORGET) continue;  // its own rows
                        CHECK(s.bench.send(good_message(opcode, node)).answered == opcode.answered);
                      }
                    }
                  }});
  rows.push_back({"a number that was forgotten", [](Scene& s) {
                    const std::uint64_t node = s.bench.node(s.bench.root, "fifo");
                    s.bench.forget(node, 1);
                    CHECK(s.error(Message(FUSE_GETATTR, node).put(fuse_getattr_in{})) == ESTALE);
                  }});
  rows.push_back({"more forgotten than looked up", [](Scene& s) {
                    const std::uint64_t node = s.bench.node(s.bench.root, "fifo");
                    s.bench.forget(node, kMost);
                    s.bench.forget(node, kMost);
                    CHECK(s.bench.lookup(s.bench.root, "fifo").error == 0);
                  }});
  rows.push_back({"an open file forgotten", [](Scene& s) {
                    s.bench.forget(s.file, kMost);
                    CHECK(s.read(s.file, s.fh, 0, 10) == 0);
                  }});
  rows.push_back({"a parent forgotten before its children", [](Scene& s) {
                    s.bench.tree.write("folder/child", "x");
                    const std::uint64_t child = s.bench.node(s.folder, "child");
                    s.bench.forget(s.folder, kMost);
                    CHECK(s.bench.open(child, O_RDONLY).error == 0);
                    s.bench.forget(child, kMost);
                    CHECK(s.bench.lookup(s.bench.root, "folder").error == 0);
                  }});
  rows.push_back({"the root forgotten", [](Scene& s) {
                    s.bench.forget(FUSE_ROOT_ID, kMost);
                    CHECK(s.bench.lookup(FUSE_ROOT_ID, "0").error == 0);
                  }});
  rows.push_back({"a batch that forgets the same again and again", [](Scene& s) {
                    Message message(FUSE_BATCH_FORGET, 0);
                    message.put(fuse_batch_forget_in{20000, 0});
                    for (int i = 0; i < 20000; ++i) message.put(fuse_forget_one{s.link, kMost});
                    CHECK_FALSE(s.bench.send(message).answered);
                    CHECK(s.error(Message(FUSE_READLINK, s.link)) == ESTALE);
                  }});
}

void rows_of_handles(std::vector<Row>& rows) {
  rows.push_back({"handles of others", [](Scene& s) {
                    for (const std::uint64_t fh : {std::uint64_t{0}, s.foreign_fh, s.directory_fh, kHalf, kMost}) {
                      CHECK(s.read(s.file, fh, 0, 10) == EBADF);
                      CHECK(s.bench.write(s.file, fh, 0, "x").error == EBADF);
                      CHECK(s.list(FUSE_READDIR, s.file, fh, 0, 4096) == EBADF);
                    }
                    CHECK(s.list(FUSE_READDIR, s.bench.root, s.fh, 0, 4096) == EBADF);
                    CHECK(s.list(FUSE_READDIRPLUS, s.folder, s.directory_fh, 0, 4096) == EBADF);
                    CHECK(s.read(s.bench.root, s.directory_fh, 0, 10) == EBADF);
                    CHECK(s.list(FUSE_READDIR, FUSE_ROOT_ID, s.directory_fh, 0, 4096) == EBADF);
                  }});
  rows.push_back({"a handle released twice and used afterwards", [](Scene& s) {
                    fuse_release_in release{};
                    release.fh = s.fh;
                    CHECK(s.error(Message(FUSE_RELEASE, s.file).put(release)) == 0);
                    CHECK(s.error(Message(FUSE_RELEASE, s.file).put(release)) == EBADF);
                    CHECK(s.read(s.file, s.fh, 0, 10) == EBADF);
                    CHECK(s.error(Message(FUSE_FSYNC, s.file).put(fuse_fsync_in{s.fh, 0, 0})) == EBADF);
                  }});
  rows.push_back(
      {"offsets of 2^63 and beyond", [](Scene& s) {
         for (const std::uint64_t offset : {kHalf, kHalf - 5, kMost, kMost - 5}) {
           CHECK(s.read(s.file, s.fh, offset, 10) != 0);
           CHECK(s.bench.write(s.file, s.fh, offset, "0123456789").error != 0);
           CHECK(s.error(Message(FUSE_FALLOCATE, s.file).put(fuse_fallocate_in{s.fh, offset, 10, 0, 0})) != 0);
           CHECK(s.error(Message(FUSE_FALLOCATE, s.file).put(fuse_fallocate_in{s.fh, 10, offset, 0, 0})) != 0);
           CHECK(s.error(Message(FUSE_LSEEK, s.file).put(fuse_lseek_in{s.fh, offset, SEEK_DATA, 0})) == ENXIO);
           fuse_setattr_in in{};
           in.valid = FATTR_SIZE;
           in.size = offset;
           CHECK(s.bench.setattr(s.file, in).error != 0);
         }
         CHECK(s.list(FUSE_READDIR, s.bench.root, s.directory_fh, kHalf, 4096) == EINVAL);
       }});
  rows.push_back({"sizes beyond what is granted", [](Scene& s) {
                    CHECK(s.read(s.file, s.fh, 0, (1 << 20) + 1) == EINVAL);
                    CHECK(s.read(s.file, s.fh, 0, UINT32_MAX) == EINVAL);
                    CHECK(s.read(s.file, s.fh, 0, 0) == 0);
                    CHECK(s.list(FUSE_READDIRPLUS, s.bench.root, s.directory_fh, 0, UINT32_MAX) == 0);
                    CHECK(s.list(FUSE_READDIR, s.bench.root, s.directory_fh, 0, 0) == EINVAL);
                  }});
  rows.push_back(
      {"whence, modes and flags that nobody defined", [](Scene& s) {
         for (const std::uint32_t whence : {0u, 1u, 2u, 5u, UINT32_MAX}) {
           CHECK(s.error(Message(FUSE_LSEEK, s.file).put(fuse_lseek_in{s.fh, 0, whence, 0})) == EINVAL);
         }
         for (const std::uint32_t mode : {8u, 32u, 64u, 1u << 31, UINT32_MAX}) {
           CHECK(s.error(Message(FUSE_FALLOCATE, s.file).put(fuse_fallocate_in{s.fh, 0, 1, mode, 0})) == EOPNOTSUPP);
         }
         for (const std::uint32_t flags : {4u, 8u, 1u << 31, UINT32_MAX}) {
           CHECK(s.bench.rename(s.bench.root, "file", s.bench.root, "x", flags).error == EINVAL);
         }
         CHECK(s.error(Message(FUSE_ACCESS, s.file).put(fuse_access_in{UINT32_MAX, 0})) == EINVAL);
         fuse_copy_file_range_in copy{s.fh, 0, s.file, s.fh, 100, 5, kMost};
         CHECK(s.error(Message(FUSE_COPY_FILE_RANGE, s.file).put(copy)) == EINVAL);
       }});
  rows.push_back({"times that are none", [](Scene& s) {
                    fuse_setattr_in in{};
                    in.valid = FATTR_MTIME;
                    in.mtimensec = 1'000'000'000;
                    CHECK(s.bench.setattr(s.file, in).error == EINVAL);
                    in.mtimensec = UTIME_NOW;
                    CHECK(s.bench.setattr(s.file, in).error == EINVAL);
                    in.mtimensec = 0;
                    in.mtime = kMost;
                    (void)s.bench.setattr(s.file, in);
                  }});
}

void rows_of_kinds(std::vector<Row>& rows) {
  rows.push_back({"special files opened", [](Scene& s) {
                    for (const char* name : {"fifo", "null", "link"}) {
                      const std::uint64_t node = s.bench.node(s.bench.root, name);
                      for (const int flags : {O_RDONLY, O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC}) {
                        CHECK(s.bench.open(node, static_cast<std::uint32_t>(flags)).error != 0);
                      }
                      CHECK(s.error(Message(FUSE_OPENDIR, node).put(fuse_open_in{})) == ENOTDIR);
                      CHECK(s.bench.create(s.bench.root, name, O_RDWR).error != 0);  // it exists: never waited for
                      CHECK(s.bench.lookup(node, "x").error == ENOTDIR);
                      CHECK(s.bench.create(node, "x", O_RDWR).error == ENOTDIR);
                      fuse_setattr_in in{};
                      in.valid = FATTR_SIZE;
                      CHECK(s.bench.setattr(node, in).error != 0);
                    }
                    CHECK(s.bench.lookup(s.bench.root, "null").as<fuse_entry_out>().attr.rdev == 0);
                  }});
  rows.push_back(
      {"devices, FIFOs and sockets made", [](Scene& s) {
         for (const unsigned kind :
              std::initializer_list<unsigned>{S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK, S_IFDIR, S_IFLNK, 0xf000}) {
           CHECK(s.error(Message(FUSE_MKNOD, s.bench.root).put(fuse_mknod_in{kind | 0666, 0x103, 0, 0}).text("n")) ==
                 EPERM);
         }
       }});
  rows.push_back({"folders opened as files, written to and linked", [](Scene& s) {
                    CHECK(s.bench.open(s.folder, O_RDONLY).error == EISDIR);
                    CHECK(s.bench.open(s.folder, O_WRONLY).error == EISDIR);
                    CHECK(s.error(Message(FUSE_LINK, s.bench.root).put(fuse_link_in{s.folder}).text("n")) == EPERM);
                    CHECK(s.error(Message(FUSE_LINK, s.bench.root).put(fuse_link_in{s.bench.root}).text("n")) == EPERM);
                    CHECK(s.bench.create(s.bench.root, "folder", O_RDWR).error != 0);
                    CHECK(s.error(Message(FUSE_READLINK, s.folder)) == EINVAL);
                  }});
  rows.push_back({"one mount's files brought to another", [](Scene& s) {
                    CHECK(s.bench.rename(s.bench.root, "file", s.foreign_root, "n").error == EXDEV);
                    CHECK(s.bench.rename(s.bench.root, "file", FUSE_ROOT_ID, "n").error == EXDEV);
                    CHECK(s.bench.rename(s.bench.root, "file", 12345, "n").error == ESTALE);
                    CHECK(s.error(Message(FUSE_LINK, s.bench.root).put(fuse_link_in{s.foreign}).text("n")) == EXDEV);
                    CHECK(s.error(Message(FUSE_LINK, s.bench.root).put(fuse_link_in{FUSE_ROOT_ID}).text("n")) == EXDEV);
                    fuse_copy_file_range_in copy{s.fh, 0, s.foreign, s.foreign_fh, 0, 5, 0};
                    CHECK(s.error(Message(FUSE_COPY_FILE_RANGE, s.file).put(copy)) == EXDEV);
                  }});
  rows.push_back({"the read-only mount written to by way of the other", [](Scene& s) {
                    CHECK(s.bench.rename(s.foreign_root, "foreign", s.bench.root, "n").error == EROFS);
                    for (const Message& one : mutations(s.foreign_root, s.foreign)) CHECK(s.error(one) == EROFS);
                    CHECK(s.other.read("foreign") == "foreign");
                  }});
  rows.push_back(
      {"set-id bits by every way", [](Scene& s) {
         fuse_setattr_in in{};
         in.valid = FATTR_MODE;
         in.mode = UINT32_MAX;
         const auto mode = s.bench.setattr(s.file, in).as<fuse_attr_out>().attr.mode;
         CHECK((mode & 06000) == 0);
         CHECK(s.bench.create(s.bench.root, "n", O_RDWR, 07777).as<fuse_entry_out>().attr.mode == (S_IFREG | 01777u));
         const Got made =
             s.bench.send(Message(FUSE_MKNOD, s.bench.root).put(fuse_mknod_in{S_IFREG | 07777, 0, 0, 0}).text("m"));
         CHECK((made.as<fuse_entry_out>().attr.mode & 06000) == 0);
       }});
  rows.push_back({"extended attributes", [](Scene& s) {
                    const std::uint32_t size[2] = {4, 0};
                    for (const char* name : {"security.capability", "trusted.a", "user.a", "system.posix_acl_access"}) {
                      CHECK(s.error(Message(FUSE_SETXATTR, s.file).put(size).text(name).raw("abcd")) == ENOSYS);
                      CHECK(s.error(Message(FUSE_GETXATTR, s.file).put(size).text(name)) == ENOSYS);
                      CHECK(s.error(Message(FUSE_REMOVEXATTR, s.file).text(name)) == ENOSYS);
                    }
                  }});
  rows.push_back({"a second INIT in the middle", [](Scene& s) {
                    s.bench.init();
                    CHECK(s.read(s.file, s.fh, 0, 10) == ESTALE);
                    CHECK(s.bench.server.inodes().descriptors() == 0);
                  }});
  rows.push_back({"DESTROY in the middle", [](Scene& s) {
                    CHECK(s.error(Message(FUSE_DESTROY, 0)) == 0);
                    CHECK(s.bench.lookup(FUSE_ROOT_ID, "0").error == EIO);
                    CHECK(s.bench.server.inodes().handles() == 0);
                    s.bench.init();
                  }});
}

}  // namespace

TEST_CASE("a guest that means harm gets errors, and the server is as it was") {
  if (!can_clone()) {
    MESSAGE("skipped: this process may not clone mounts (run the tests as root)");
    return;
  }
  const NoUmask as_served;
  std::vector<Row> rows;
  rows_of_numbers(rows);
  rows_of_handles(rows);
  rows_of_kinds(rows);
  for (const Row& row : rows) {
    INFO(row.name);
    Scene scene;
    row.act(scene);
    // Still served.
    const std::uint64_t root = scene.bench.node(FUSE_ROOT_ID, "0");
    CHECK(scene.bench.create(root, "after", O_RDWR).error == 0);
    CHECK(scene.bench.list(root, true).count("after") == 1);
    // And forgotten for good: not one descriptor is left.
    scene.bench.send(Message(FUSE_DESTROY, 0));
    CHECK(scene.bench.server.inodes().descriptors() == 0);
    CHECK(scene.bench.server.inodes().inodes() == 0);
  }
  std::printf("violations: %zu of a hostile FUSE client\n", rows.size());
}

TEST_CASE("any order of good requests leaves the counts of the table true") {
  if (!can_clone()) return;
  Bench bench(false, 48);
  for (int i = 0; i < 60; ++i) bench.tree.write(std::to_string(i), "x");
  std::vector<std::pair<std::uint64_t, std::uint64_t>> known, opened;
  std::uint32_t random = 1;
  const auto next = [&random](std::size_t below) {
    random = random * 1664525 + 1013904223;
    return static_cast<std::size_t>(random >> 8) % below;
  };
  for (int step = 0; step < 20000; ++step) {
    const std::string name = std::to_string(next(60));
    switch (next(6)) {
      case 0: {
        const Got got = bench.lookup(bench.root, name);
        if (got.error == 0) known.emplace_back(got.as<fuse_entry_out>().nodeid, 1);
        break;
      }
      case 1:
        if (known.empty()) break;
        bench.forget(known.back().first, known.back().second);
        known.pop_back();
        break;
      case 2: {
        if (known.empty()) break;
        const std::uint64_t node = known[next(known.size())].first;
        const Got got = bench.open(node, O_RDONLY);
        if (got.error == 0) opened.emplace_back(node, got.as<fuse_open_out>().fh);
        break;
      }
      case 3: {
        if (opened.empty()) break;
        fuse_release_in release{};
        release.fh = opened.back().second;
        bench.send(Message(FUSE_RELEASE, opened.back().first).put(release));
        opened.pop_back();
        break;
      }
      case 4: bench.rename(bench.root, name, bench.root, std::to_string(next(60))); break;
      case 5:
        bench.create(bench.root, name, O_RDWR);
        bench.send(Message(FUSE_UNLINK, bench.root).text(name));
        break;
    }
    CHECK(bench.server.inodes().descriptors() <= 49);
  }
  CHECK(bench.server.inodes().handles() >= opened.size());
}
