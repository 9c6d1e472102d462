// SPDX-License-Identifier: Apache-2.0
// What a file is: its attributes, read and changed.
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>

#include "fsd/server/server.hpp"

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452  // Linux 6.6
#endif

namespace sandforge::fsd {
namespace {

// Set-id bits would give whoever runs the file on the host the rights of its owner. On directories the group's bit only
// says which group new files get.
unsigned harmless_mode(unsigned mode, bool directory) noexcept { return mode & (directory ? 03777u : 01777u); }

std::uint32_t shown_owner(const Mount& mount, std::uint32_t owner) noexcept {
  // 0 is this process itself: its user namespace has nobody else.
  return owner == 0 || owner == mount.owner ? 0 : kNobody;
}

timespec time_of(bool given, bool now, std::uint64_t seconds, std::uint32_t nanoseconds) noexcept {
  if (!given) return {0, UTIME_OMIT};
  if (now) return {0, UTIME_NOW};
  return {static_cast<time_t>(seconds), static_cast<long>(nanoseconds)};
}

}  // namespace

std::uint64_t inode_number_of(const Mount& mount, std::uint64_t device, std::uint64_t number) noexcept {
  // To the guest all mounts are one file system: files of two of them must not have the same number.
  const std::uint64_t elsewhere = device == mount.device ? 0 : device * 0x9e3779b97f4a7c15u;
  return number ^ elsewhere ^ (std::uint64_t{mount.index} + 1) << 56;
}

fuse_attr attributes_of(const Mount& mount, const Facts& facts) noexcept {
  fuse_attr attr{};
  attr.ino = inode_number_of(mount, device_of(facts), facts.stx_ino);
  attr.size = facts.stx_size;
  attr.blocks = facts.stx_blocks;
  attr.atime = static_cast<std::uint64_t>(facts.stx_atime.tv_sec);
  attr.mtime = static_cast<std::uint64_t>(facts.stx_mtime.tv_sec);
  attr.ctime = static_cast<std::uint64_t>(facts.stx_ctime.tv_sec);
  attr.atimensec = facts.stx_atime.tv_nsec;
  attr.mtimensec = facts.stx_mtime.tv_nsec;
  attr.ctimensec = facts.stx_ctime.tv_nsec;
  attr.mode = facts.stx_mode;
  attr.nlink = facts.stx_nlink;
  attr.uid = attr.gid = shown_owner(mount, facts.stx_uid);
  attr.blksize = facts.stx_blksize;
  // Device numbers of the host mean other devices in the guest: none is told.
  return attr;
}

int Server::getattr(Inode& inode, const Request&, Reply& reply) {
  int path = -1;
  if (const int error = inodes_.path_of(inode, path); error != 0) return error;
  Facts facts{};
  if (const int error = look_at(path, facts); error != 0) return error;
  fuse_attr_out out{};
  out.attr_valid = kAttributeSeconds;
  out.attr = attributes_of(*inode.mount, facts);
  return reply.append(out) ? 0 : EIO;
}

int Server::change_mode(Inode& inode, unsigned mode) {
  if (inode.kind == S_IFLNK) return EOPNOTSUPP;
  int path = -1;
  if (const int error = inodes_.path_of(inode, path); error != 0) return error;
  mode = harmless_mode(mode, inode.is_directory());
  if (::syscall(SYS_fchmodat2, path, "", mode, AT_EMPTY_PATH) == 0) return 0;
  if (errno != ENOSYS) return errno;
  // Before Linux 6.6 an O_PATH descriptor will not do: the file must be opened, for what is permitted.
  base::UniqueFd fd;
  Facts facts{};
  int error = inodes_.open(inode, O_RDONLY, fd, facts);
  if (error == EACCES && !inode.is_directory()) error = inodes_.open(inode, O_WRONLY, fd, facts);
  if (error != 0) return error;
  return ::fchmod(fd.get(), mode) == 0 ? 0 : errno;
}

int Server::change_size(Inode& inode, const fuse_setattr_in& in) {
  if (in.size > INT64_MAX) return EFBIG;
  if (inode.is_directory()) return EISDIR;
  const Handle* handle = (in.valid & FATTR_FH) != 0 ? inodes_.find_handle(in.fh, &inode) : nullptr;
  base::UniqueFd opened;
  int fd = handle != nullptr && handle->access != O_RDONLY ? handle->fd.get() : -1;
  if (fd < 0) {
    Facts facts{};
    if (const int error = inodes_.open(inode, O_WRONLY, opened, facts); error != 0) return error;
    fd = opened.get();
  }
  return ::ftruncate(fd, static_cast<off_t>(in.size)) == 0 ? 0 : errno;
}

int Server::change_times(Inode& inode, const fuse_setattr_in& in) {
  int path = -1;
  if (const int error = inodes_.path_of(inode, path); error != 0) return error;
  constexpr std::uint32_t kSecond = 1'000'000'000;
  const timespec times[2] = {
      time_of((in.valid & FATTR_ATIME) != 0, (in.valid & FATTR_ATIME_NOW) != 0, in.atime, in.atimensec),
      time_of((in.valid & FATTR_MTIME) != 0, (in.valid & FATTR_MTIME_NOW) != 0, in.mtime, in.mtimensec)};
  if (in.atimensec >= kSecond || in.mtimensec >= kSecond) return EINVAL;
  // By the bare call: the C library refuses an empty path.
  return ::syscall(SYS_utimensat, path, "", times, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) == 0 ? 0 : errno;
}

int Server::setattr(Inode& inode, const Request& request, Reply& reply) {
  const auto in = request.body<fuse_setattr_in>();
  if ((in.valid & (FATTR_UID | FATTR_GID)) != 0) {
    int path = -1;
    if (const int error = inodes_.path_of(inode, path); error != 0) return error;
    Facts facts{};
    if (const int error = look_at(path, facts); error != 0) return error;
    const std::uint32_t shown = shown_owner(*inode.mount, facts.stx_uid);
    const bool same =
        ((in.valid & FATTR_UID) == 0 || in.uid == shown) && ((in.valid & FATTR_GID) == 0 || in.gid == shown);
    if (!same) return EPERM;
  }
  if ((in.valid & FATTR_MODE) != 0) {
    if (const int error = change_mode(inode, in.mode); error != 0) return error;
  }
  if ((in.valid & FATTR_SIZE) != 0) {
    if (const int error = change_size(inode, in); error != 0) return error;
  }
  if ((in.valid & (FATTR_ATIME | FATTR_MTIME)) != 0) {
    if (const int error = change_times(inode, in); error != 0) return error;
  }
  return getattr(inode, request, reply);
}

int Server::readlink(Inode& inode, const Request&, Reply& reply) {
  if (inode.kind != S_IFLNK) return EINVAL;
  int path = -1;
  if (const int error = inodes_.path_of(inode, path); error != 0) return error;
  const auto room = reply.room();
  // SAFETY: bytes seen as characters.
  const ssize_t length = ::readlinkat(path, "", reinterpret_cast<char*>(room.data()), room.size());
  if (length < 0) return errno;
  reply.grow(static_cast<std::size_t>(length));
  return 0;
}

int Server::statfs(Inode& inode, const Request&, Reply& reply) {
  int path = -1;
  if (const int error = inodes_.path_of(inode, path); error != 0) return error;
  struct statfs info {};
  if (::fstatfs(path, &info) != 0) return errno;
  fuse_statfs_out out{};
  out.st.blocks = info.f_blocks;
  out.st.bfree = info.f_bfree;
  out.st.bavail = info.f_bavail;
  out.st.files = info.f_files;
  out.st.ffree = info.f_ffree;
  out.st.bsize = static_cast<std::uint32_t>(info.f_bsize);
  out.st.namelen = static_cast<std::uint32_t>(info.f_namelen);
  out.st.frsize = static_cast<std::uint32_t>(info.f_frsize);
  return reply.append(out) ? 0 : EIO;
}

int Server::access(Inode& inode, const Request& request, Reply&) {
  const auto in = request.body<fuse_access_in>();
  if ((in.mask & ~7u) != 0) return EINVAL;
  if ((in.mask & W_OK) != 0 && inode.mount->read_only) return EROFS;
  int path = -1;
  if (const int error = inodes_.path_of(inode, path); error != 0) return error;
  // What this process may do is what the guest may. Not X_OK: mounts are noexec here, and not in the guest.
  const std::uint32_t mask = inode.is_directory() ? in.mask : in.mask & ~static_cast<std::uint32_t>(X_OK);
  return ::syscall(SYS_faccessat2, path, "", mask, AT_EMPTY_PATH) == 0 ? 0 : errno;
}

}  // namespace sandforge::fsd
