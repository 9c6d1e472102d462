// SPDX-License-Identifier: Apache-2.0
// Open files. Data goes straight between the file and the message: no copy of it is made here.
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "fsd/server/server.hpp"

namespace sandforge::fsd {
namespace {

bool is_offset(std::uint64_t offset, std::uint64_t length) noexcept {
  return offset <= INT64_MAX && length <= INT64_MAX - offset;
}

// Of the guest's flags those that mean something to the host. O_APPEND comes with every write; O_TRUNC is done after
// the file was found to be the right one; O_DIRECT and O_NOATIME are no business of the host's.
int access_of(std::uint32_t flags) noexcept { return static_cast<int>(flags & O_ACCMODE); }

}  // namespace

int Server::reply_opened(Inode& inode, base::UniqueFd fd, int flags, const Facts& facts, Reply& reply) {
  const std::int64_t time = nanoseconds(facts.stx_mtime);
  fuse_open_out out{};
  if (inode.cached_time == time && inode.cached_size == facts.stx_size) out.open_flags |= FOPEN_KEEP_CACHE;
  inode.cached_time = time;
  inode.cached_size = facts.stx_size;
  // What cannot be written needs no flush when it is closed.
  if (flags == O_RDONLY) out.open_flags |= FOPEN_NOFLUSH;
  Handle* handle = nullptr;
  if (const int error = inodes_.add_handle(&inode, std::move(fd), flags, false, handle); error != 0) return error;
  out.fh = handle->number;
  return reply.append(out) ? 0 : EIO;
}

int Server::open(Inode& inode, const Request& request, Reply& reply) {
  const auto in = request.body<fuse_open_in>();
  const int access = access_of(in.flags);
  if (access == O_ACCMODE) return EINVAL;
  if (inode.is_directory()) return EISDIR;
  base::UniqueFd fd;
  Facts facts{};
  if (const int error = inodes_.open(inode, access, fd, facts); error != 0) return error;
  if ((in.flags & O_TRUNC) != 0) {
    if (access == O_RDONLY) return EINVAL;
    if (::ftruncate(fd.get(), 0) != 0) return errno;
    if (const int error = look_at(fd.get(), facts); error != 0) return error;
  }
  return reply_opened(inode, std::move(fd), access, facts, reply);
}

int Server::create(Inode& parent, const Request& request, Reply& reply) {
  const auto in = request.body<fuse_create_in>();
  const std::string_view name = request.texts[0];
  const int access = access_of(in.flags);
  if (access == O_ACCMODE) return EINVAL;
  if (!parent.is_directory()) return ENOTDIR;
  if (const int error = check_name(name); error != 0) return error;
  int directory = -1;
  if (const int error = inodes_.path_of(parent, directory); error != 0) return error;
  if (const int error = inodes_.make_room(2); error != 0) return error;
  base::UniqueFd fd;
  const int flags = access | O_CREAT | static_cast<int>(in.flags & O_EXCL);
  if (const int error = open_in(directory, name.data(), flags, in.mode & 01777, fd); error != 0) return error;
  Facts facts{};
  if (const int error = look_at(fd.get(), facts); error != 0) return error;
  if (!is_kind(facts, S_IFREG)) return EINVAL;  // it was there before
  if ((in.flags & O_TRUNC) != 0 && facts.stx_size != 0 && access != O_RDONLY) {
    if (::ftruncate(fd.get(), 0) != 0) return errno;
  }
  fuse_entry_out entry{};
  Inode* inode = nullptr;
  if (const int error = find(parent, name, entry, inode); error != 0) return error;
  // The host may have put another in its place meanwhile.
  if (inode->device != device_of(facts) || inode->number != facts.stx_ino || !reply.append(entry)) {
    inodes_.forget(inode->node, 1);
    return ESTALE;
  }
  const std::uint64_t node = inode->node;
  const int error = reply_opened(*inode, std::move(fd), access, facts, reply);
  if (error != 0) inodes_.forget(node, 1);
  return error;
}

int Server::tmpfile(Inode& parent, const Request& request, Reply& reply) {
  const auto in = request.body<fuse_create_in>();
  const int access = access_of(in.flags);
  if (access != O_WRONLY && access != O_RDWR) return EINVAL;
  if (!parent.is_directory()) return ENOTDIR;
  int directory = -1;
  if (const int error = inodes_.path_of(parent, directory); error != 0) return error;
  if (const int error = inodes_.make_room(2); error != 0) return error;
  base::UniqueFd fd;
  const int flags = access | O_TMPFILE | static_cast<int>(in.flags & O_EXCL);
  if (const int error = open_in(directory, ".", flags, in.mode & 01777, fd); error != 0) return error;
  Facts facts{};
  if (const int error = look_at(fd.get(), facts); error != 0) return error;
  // It has no name to refer to it by.
  base::UniqueFd path(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!path) return errno;
  Inode* inode = nullptr;
  if (const int error = inodes_.remember(parent.mount, nullptr, {}, std::move(path), facts, true, inode); error != 0) {
    return error;
  }
  fuse_entry_out entry{};
  entry.nodeid = inode->node;
  entry.entry_valid = kEntrySeconds;
  entry.attr_valid = kAttributeSeconds;
  entry.attr = attributes_of(*parent.mount, facts);
  const std::uint64_t node = inode->node;
  int error = reply.append(entry) ? 0 : EIO;
  if (error == 0) error = reply_opened(*inode, std::move(fd), access, facts, reply);
  if (error != 0) inodes_.forget(node, 1);
  return error;
}

int Server::read(Inode& inode, const Request& request, Reply& reply) {
  const auto in = request.body<fuse_read_in>();
  const Handle* handle = inodes_.find_handle(in.fh, &inode);
  if (handle == nullptr || handle->directory) return EBADF;
  if (in.size > limits::kFsdDataBytesMax || !is_offset(in.offset, in.size)) return EINVAL;
  reply.limit(in.size);
  while (!reply.room().empty()) {
    const iovec part{reply.room().data(), reply.room().size()};
    const ssize_t n = ::preadv(handle->fd.get(), &part, 1, static_cast<off_t>(in.offset + reply.body_bytes()));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && reply.body_bytes() == 0) return errno;
    if (n <= 0) break;
    reply.grow(static_cast<std::size_t>(n));
  }
  return 0;
}

int Server::write(Inode& inode, const Request& request, Reply& reply) {
  const auto in = request.body<fuse_write_in>();
  const Handle* handle = inodes_.find_handle(in.fh, &inode);
  if (handle == nullptr || handle->directory) return EBADF;
  if (!is_offset(in.offset, request.data.size())) return EFBIG;
  // Pages that the guest writes out later have their place; O_APPEND is then only what the file was opened with.
  const bool append = (in.flags & O_APPEND) != 0 && (in.write_flags & FUSE_WRITE_CACHE) == 0;
  std::size_t done = 0;
  while (done < request.data.size()) {
    const auto rest = request.data.subspan(done);
    // SAFETY: pwritev2 only reads what it is given; iovec predates const.
    const iovec part{const_cast<std::byte*>(rest.data()), rest.size()};
    const ssize_t n =
        ::pwritev2(handle->fd.get(), &part, 1, static_cast<off_t>(in.offset + done), append ? RWF_APPEND : 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && done == 0) return errno;
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  return reply.append(fuse_write_out{static_cast<std::uint32_t>(done), 0}) ? 0 : EIO;
}

int Server::flush(Inode& inode, const Request& request, Reply&) {
  const Handle* handle = inodes_.find_handle(request.body<fuse_flush_in>().fh, &inode);
  if (handle == nullptr) return EBADF;
  // Closing a copy asks the host's file system for errors that it kept back.
  const int copy = ::fcntl(handle->fd.get(), F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return errno;
  return ::close(copy) == 0 || errno == EINTR ? 0 : errno;
}

int Server::release(Inode& inode, const Request& request, Reply&) {
  Handle* handle = inodes_.find_handle(request.body<fuse_release_in>().fh, &inode);
  if (handle == nullptr) return EBADF;
  inodes_.release(*handle);
  return 0;
}

int Server::fsync(Inode& inode, const Request& request, Reply&) {
  const auto in = request.body<fuse_fsync_in>();
  const Handle* handle = inodes_.find_handle(in.fh, &inode);
  if (handle == nullptr) return EBADF;
  const bool data_only = (in.fsync_flags & FUSE_FSYNC_FDATASYNC) != 0;
  return (data_only ? ::fdatasync(handle->fd.get()) : ::fsync(handle->fd.get())) == 0 ? 0 : errno;
}

int Server::fallocate(Inode& inode, const Request& request, Reply&) {
  const auto in = request.body<fuse_fallocate_in>();
  const Handle* handle = inodes_.find_handle(in.fh, &inode);
  if (handle == nullptr || handle->directory) return EBADF;
  constexpr std::uint32_t kKnown = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
  if ((in.mode & ~kKnown) != 0) return EOPNOTSUPP;
  if (!is_offset(in.offset, in.length)) return EFBIG;
  const auto offset = static_cast<off_t>(in.offset), length = static_cast<off_t>(in.length);
  return ::fallocate(handle->fd.get(), static_cast<int>(in.mode), offset, length) == 0 ? 0 : errno;
}

int Server::lseek(Inode& inode, const Request& request, Reply& reply) {
  const auto in = request.body<fuse_lseek_in>();
  const Handle* handle = inodes_.find_handle(in.fh, &inode);
  if (handle == nullptr || handle->directory) return EBADF;
  // The guest's kernel does all others by itself.
  if (in.whence != SEEK_DATA && in.whence != SEEK_HOLE) return EINVAL;
  if (in.offset > INT64_MAX) return ENXIO;
  const off_t found = ::lseek(handle->fd.get(), static_cast<off_t>(in.offset), static_cast<int>(in.whence));
  if (found < 0) return errno;
  return reply.append(fuse_lseek_out{static_cast<std::uint64_t>(found)}) ? 0 : EIO;
}

int Server::copy_file_range(Inode& inode, const Request& request, Reply& reply) {
  const auto in = request.body<fuse_copy_file_range_in>();
  Inode* target = inodes_.find(in.nodeid_out);
  // Of one mount: what a read-only mount forbids was decided for the mount of the source.
  if (target == nullptr || target->mount != inode.mount) return EXDEV;
  const Handle* from = inodes_.find_handle(in.fh_in, &inode);
  const Handle* to = inodes_.find_handle(in.fh_out, target);
  if (from == nullptr || to == nullptr || from->directory || to->directory) return EBADF;
  const std::uint64_t length = std::min(in.len, limits::kFsdCopyBytesMax);
  if (in.flags != 0 || !is_offset(in.off_in, length) || !is_offset(in.off_out, length)) return EINVAL;
  auto source = static_cast<off64_t>(in.off_in), destination = static_cast<off64_t>(in.off_out);
  const ssize_t n = ::copy_file_range(from->fd.get(), &source, to->fd.get(), &destination, length, 0);
  if (n < 0) return errno;
  return reply.append(fuse_write_out{static_cast<std::uint32_t>(n), 0}) ? 0 : EIO;
}

}  // namespace sandforge::fsd
