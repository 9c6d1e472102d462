// SPDX-License-Identifier: Apache-2.0
#include "fsd/protocol/opcodes.hpp"

#include <linux/fuse.h>

#include <algorithm>
#include <iterator>

#include "base/limits.hpp"

namespace sandforge::fsd {
namespace {

constexpr Text kNo = Text::None, kName = Text::Name;
constexpr std::uint32_t kEntry = sizeof(fuse_entry_out), kAttr = sizeof(fuse_attr_out), kOpen = sizeof(fuse_open_out);
constexpr std::uint32_t kBulk = limits::kFsdDataBytesMax;

template <typename Body>
constexpr std::uint16_t body() {
  return sizeof(Body);
}

// SPEC: linux/fuse.h, protocol 7.38. Of a structure that grew, the length that a kernel sends when the feature behind
// the growth was not negotiated (SETXATTR), or the first length that there ever was (INIT).
constexpr Opcode kOpcodes[] = {
    {FUSE_LOOKUP, "LOOKUP", 0, {kName, kNo}, Tail::None, kEntry, Mutates::No, true},
    {FUSE_FORGET, "FORGET", body<fuse_forget_in>(), {kNo, kNo}, Tail::None, 0, Mutates::No, false},
    {FUSE_GETATTR, "GETATTR", body<fuse_getattr_in>(), {kNo, kNo}, Tail::None, kAttr, Mutates::No, true},
    {FUSE_SETATTR, "SETATTR", body<fuse_setattr_in>(), {kNo, kNo}, Tail::None, kAttr, Mutates::Yes, true},
    {FUSE_READLINK, "READLINK", 0, {kNo, kNo}, Tail::None, limits::kPathMax - 1, Mutates::No, true},
    {FUSE_SYMLINK, "SYMLINK", 0, {kName, Text::Target}, Tail::None, kEntry, Mutates::Yes, true},
    {FUSE_MKNOD, "MKNOD", body<fuse_mknod_in>(), {kName, kNo}, Tail::None, kEntry, Mutates::Yes, true},
    {FUSE_MKDIR, "MKDIR", body<fuse_mkdir_in>(), {kName, kNo}, Tail::None, kEntry, Mutates::Yes, true},
    {FUSE_UNLINK, "UNLINK", 0, {kName, kNo}, Tail::None, 0, Mutates::Yes, true},
    {FUSE_RMDIR, "RMDIR", 0, {kName, kNo}, Tail::None, 0, Mutates::Yes, true},
    {FUSE_RENAME, "RENAME", body<fuse_rename_in>(), {kName, kName}, Tail::None, 0, Mutates::Yes, true},
    {FUSE_LINK, "LINK", body<fuse_link_in>(), {kName, kNo}, Tail::None, kEntry, Mutates::Yes, true},
    {FUSE_OPEN, "OPEN", body<fuse_open_in>(), {kNo, kNo}, Tail::None, kOpen, Mutates::ByFlags, true},
    {FUSE_READ, "READ", body<fuse_read_in>(), {kNo, kNo}, Tail::None, kBulk, Mutates::No, true},
    {FUSE_WRITE, "WRITE", body<fuse_write_in>(), {kNo, kNo}, Tail::Data, sizeof(fuse_write_out), Mutates::Yes, true},
    {FUSE_STATFS, "STATFS", 0, {kNo, kNo}, Tail::None, sizeof(fuse_statfs_out), Mutates::No, true},
    {FUSE_RELEASE, "RELEASE", body<fuse_release_in>(), {kNo, kNo}, Tail::None, 0, Mutates::No, true},
    {FUSE_FSYNC, "FSYNC", body<fuse_fsync_in>(), {kNo, kNo}, Tail::None, 0, Mutates::No, true},
    {FUSE_SETXATTR, "SETXATTR", FUSE_COMPAT_SETXATTR_IN_SIZE, {Text::Xattr, kNo}, Tail::Value, 0, Mutates::Yes, true},
    {FUSE_GETXATTR, "GETXATTR", body<fuse_getxattr_in>(), {Text::Xattr, kNo}, Tail::None, 0, Mutates::No, true},
    {FUSE_LISTXATTR, "LISTXATTR", body<fuse_getxattr_in>(), {kNo, kNo}, Tail::None, 0, Mutates::No, true},
    {FUSE_REMOVEXATTR, "REMOVEXATTR", 0, {Text::Xattr, kNo}, Tail::None, 0, Mutates::Yes, true},
    {FUSE_FLUSH, "FLUSH", body<fuse_flush_in>(), {kNo, kNo}, Tail::None, 0, Mutates::No, true},
    {FUSE_INIT, "INIT", 16, {kNo, kNo}, Tail::Newer, sizeof(fuse_init_out), Mutates::No, true},
    {FUSE_OPENDIR, "OPENDIR", body<fuse_open_in>(), {kNo, kNo}, Tail::None, kOpen, Mutates::No, true},
    {FUSE_READDIR, "READDIR", body<fuse_read_in>(), {kNo, kNo}, Tail::None, kBulk, Mutates::No, true},
    {FUSE_RELEASEDIR, "RELEASEDIR", body<fuse_release_in>(), {kNo, kNo}, Tail::None, 0, Mutates::No, true},
    {FUSE_FSYNCDIR, "FSYNCDIR", body<fuse_fsync_in>(), {kNo, kNo}, Tail::None, 0, Mutates::No, true},
    {FUSE_ACCESS, "ACCESS", body<fuse_access_in>(), {kNo, kNo}, Tail::None, 0, Mutates::No, true},
    {FUSE_CREATE, "CREATE", body<fuse_create_in>(), {kName, kNo}, Tail::None, kEntry + kOpen, Mutates::Yes, true},
    {FUSE_INTERRUPT, "INTERRUPT", body<fuse_interrupt_in>(), {kNo, kNo}, Tail::None, 0, Mutates::No, false},
    {FUSE_DESTROY, "DESTROY", 0, {kNo, kNo}, Tail::None, 0, Mutates::No, true},
    {FUSE_BATCH_FORGET, "BATCH_FORGET", body<fuse_batch_forget_in>(), {kNo, kNo}, Tail::Forgets, 0, Mutates::No, false},
    {FUSE_FALLOCATE, "FALLOCATE", body<fuse_fallocate_in>(), {kNo, kNo}, Tail::None, 0, Mutates::Yes, true},
    {FUSE_READDIRPLUS, "READDIRPLUS", body<fuse_read_in>(), {kNo, kNo}, Tail::None, kBulk, Mutates::No, true},
    {FUSE_RENAME2, "RENAME2", body<fuse_rename2_in>(), {kName, kName}, Tail::None, 0, Mutates::Yes, true},
    {FUSE_LSEEK, "LSEEK", body<fuse_lseek_in>(), {kNo, kNo}, Tail::None, sizeof(fuse_lseek_out), Mutates::No, true},
    {FUSE_COPY_FILE_RANGE,
     "COPY_FILE_RANGE",
     body<fuse_copy_file_range_in>(),
     {kNo, kNo},
     Tail::None,
     sizeof(fuse_write_out),
     Mutates::Yes,
     true},
    {FUSE_SYNCFS, "SYNCFS", body<fuse_syncfs_in>(), {kNo, kNo}, Tail::None, 0, Mutates::No, true},
    {FUSE_TMPFILE,
     "TMPFILE",
     body<fuse_create_in>(),
     {Text::Unused, kNo},
     Tail::None,
     kEntry + kOpen,
     Mutates::Yes,
     true},
};

constexpr bool in_order() {
  for (std::size_t i = 1; i < std::size(kOpcodes); ++i) {
    if (kOpcodes[i - 1].number >= kOpcodes[i].number) return false;
  }
  return true;
}
static_assert(in_order(), "the search below needs it");

}  // namespace

const Opcode* find_opcode(std::uint32_t number) noexcept {
  const auto* found = std::lower_bound(std::begin(kOpcodes), std::end(kOpcodes), number,
                                       [](const Opcode& one, std::uint32_t wanted) { return one.number < wanted; });
  return found != std::end(kOpcodes) && found->number == number ? found : nullptr;
}

std::span<const Opcode> all_opcodes() noexcept { return kOpcodes; }

}  // namespace sandforge::fsd
