// SPDX-License-Identifier: Apache-2.0
// What is done to names in directories. Each name was checked by the parser, and is checked here again where it is
// used.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "fsd/server/server.hpp"

namespace sandforge::fsd {
namespace {

// The directory's own descriptor: borrowed as long as the inode is known.
int directory_fd(InodeTable& inodes, Inode& directory, std::string_view name, int& fd) {
  if (!directory.is_directory()) return ENOTDIR;
  if (const int error = check_name(name); error != 0) return error;
  return inodes.path_of(directory, fd);
}

}  // namespace

int Server::find(Inode& parent, std::string_view name, fuse_entry_out& entry, Inode*& out) {
  int directory = -1;
  if (const int error = directory_fd(inodes_, parent, name, directory); error != 0) return error;
  if (const int error = inodes_.make_room(1); error != 0) return error;
  base::UniqueFd path;
  if (const int error = refer(directory, name.data(), path); error != 0) return error;
  Facts facts{};
  if (const int error = look_at(path.get(), facts); error != 0) return error;
  if (const int error = inodes_.remember(parent.mount, &parent, name, std::move(path), facts, false, out); error != 0) {
    return error;
  }
  entry.nodeid = out->node;
  entry.entry_valid = kEntrySeconds;
  entry.attr_valid = kAttributeSeconds;
  entry.attr = attributes_of(*parent.mount, facts);
  return 0;
}

int Server::find_and_reply(Inode& parent, const Request& request, Reply& reply) {
  fuse_entry_out entry{};
  Inode* inode = nullptr;
  if (const int error = find(parent, request.texts[0], entry, inode); error != 0) return error;
  return reply.append(entry) ? 0 : EIO;
}

int Server::directory_of(std::uint64_t node, const Inode& near, Inode*& out) {
  out = inodes_.find(node);
  if (out == nullptr) return node == FUSE_ROOT_ID ? EXDEV : ESTALE;
  return out->mount == near.mount ? 0 : EXDEV;
}

int Server::lookup(Inode& parent, const Request& request, Reply& reply) {
  return find_and_reply(parent, request, reply);
}

int Server::symlink(Inode& parent, const Request& request, Reply& reply) {
  int directory = -1;
  if (const int error = directory_fd(inodes_, parent, request.texts[0], directory); error != 0) return error;
  if (::symlinkat(request.texts[1].data(), directory, request.texts[0].data()) != 0) return errno;
  return find_and_reply(parent, request, reply);
}

int Server::mknod(Inode& parent, const Request& request, Reply& reply) {
  const auto in = request.body<fuse_mknod_in>();
  // Device nodes are the host's business; FIFOs and sockets would connect guest and host past everything that watches.
  if ((in.mode & S_IFMT) != S_IFREG && (in.mode & S_IFMT) != 0) return EPERM;
  int directory = -1;
  if (const int error = directory_fd(inodes_, parent, request.texts[0], directory); error != 0) return error;
  base::UniqueFd fd;
  const int error = open_in(directory, request.texts[0].data(), O_CREAT | O_EXCL | O_WRONLY, in.mode & 01777, fd);
  return error != 0 ? error : find_and_reply(parent, request, reply);
}

int Server::mkdir(Inode& parent, const Request& request, Reply& reply) {
  int directory = -1;
  if (const int error = directory_fd(inodes_, parent, request.texts[0], directory); error != 0) return error;
  const unsigned mode = request.body<fuse_mkdir_in>().mode & 01777;
  if (::mkdirat(directory, request.texts[0].data(), mode) != 0) return errno;
  return find_and_reply(parent, request, reply);
}

int Server::unlink_as(Inode& parent, const Request& request, int flags) {
  int directory = -1;
  if (const int error = directory_fd(inodes_, parent, request.texts[0], directory); error != 0) return error;
  return ::unlinkat(directory, request.texts[0].data(), flags) == 0 ? 0 : errno;
}

int Server::unlink(Inode& parent, const Request& request, Reply&) { return unlink_as(parent, request, 0); }
int Server::rmdir(Inode& parent, const Request& request, Reply&) { return unlink_as(parent, request, AT_REMOVEDIR); }

int Server::rename_to(Inode& parent, const Request& request, std::uint64_t new_parent, unsigned flags) {
  if ((flags & ~static_cast<unsigned>(RENAME_NOREPLACE | RENAME_EXCHANGE)) != 0) return EINVAL;
  Inode* target = nullptr;
  if (const int error = directory_of(new_parent, parent, target); error != 0) return error;
  const InodeTable::Pin pin(inodes_, *target);
  int from = -1, to = -1;
  if (const int error = directory_fd(inodes_, parent, request.texts[0], from); error != 0) return error;
  if (const int error = directory_fd(inodes_, *target, request.texts[1], to); error != 0) return error;
  // By the bare call: the C library makes another one of it when there are no flags.
  if (::syscall(SYS_renameat2, from, request.texts[0].data(), to, request.texts[1].data(), flags) != 0) return errno;
  // Where the moved are now, so that they can be opened without the guest looking them up again.
  const auto note = [this](Inode& directory, int fd, std::string_view name) {
    Facts facts{};
    if (::statx(fd, name.data(), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &facts) != 0) return;
    if (Inode* moved = inodes_.known(*directory.mount, facts); moved != nullptr) inodes_.moved(*moved, directory, name);
  };
  note(*target, to, request.texts[1]);
  if ((flags & RENAME_EXCHANGE) != 0) note(parent, from, request.texts[0]);
  return 0;
}

int Server::rename(Inode& parent, const Request& request, Reply&) {
  return rename_to(parent, request, request.body<fuse_rename_in>().newdir, 0);
}

int Server::rename_flags(Inode& parent, const Request& request, Reply&) {
  const auto in = request.body<fuse_rename2_in>();
  return rename_to(parent, request, in.newdir, in.flags);
}

int Server::link(Inode& parent, const Request& request, Reply& reply) {
  Inode* inode = nullptr;
  if (const int error = directory_of(request.body<fuse_link_in>().oldnodeid, parent, inode); error != 0) return error;
  if (inode->is_directory()) return EPERM;
  const InodeTable::Pin pin(inodes_, *inode);
  const std::string_view name = request.texts[0];
  int directory = -1, path = -1;
  if (const int error = directory_fd(inodes_, parent, name, directory); error != 0) return error;
  if (const int error = inodes_.path_of(*inode, path); error != 0) return error;
  if (::linkat(path, "", directory, name.data(), AT_EMPTY_PATH) == 0) return find_and_reply(parent, request, reply);
  // Before Linux 6.10 that takes a capability and answers ENOENT without it. By name then; should the host have put
  // another file there in between, the new name goes again.
  if (errno != ENOENT) return errno;
  if (inode->parent == nullptr) return ENOENT;
  if (const int error = inodes_.path_of(*inode->parent, path); error != 0) return error;
  if (::linkat(path, inode->name.c_str(), directory, name.data(), 0) != 0) return errno;
  fuse_entry_out entry{};
  Inode* linked = nullptr;
  if (const int error = find(parent, name, entry, linked); error != 0) return error;
  if (linked == inode) return reply.append(entry) ? 0 : EIO;
  inodes_.forget(linked->node, 1);
  (void)::unlinkat(directory, name.data(), 0);
  return ESTALE;
}

}  // namespace sandforge::fsd
