// SPDX-License-Identifier: Apache-2.0
// Listings: of the host's directories, and of the root whose children are the mounts.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <string>

#include "fsd/server/server.hpp"

namespace sandforge::fsd {
namespace {

constexpr std::uint64_t kNowhere = UINT64_MAX;
constexpr std::size_t kLongestRecord = 280;  // of getdents64: a header of 19, a name of 255 with its NUL, aligned

// SPEC: getdents64(2), the kernel's own structure.
struct HostEntry {
  std::uint64_t number;
  std::uint64_t next;
  std::uint8_t kind;  // S_IFMT >> 12
  std::string_view name;
};

// Takes one entry off what the host's kernel wrote.
HostEntry take_entry(std::span<const std::byte>& listing) noexcept {
  HostEntry entry{};
  std::uint16_t length = 0;
  std::memcpy(&entry.number, listing.data(), 8);
  std::memcpy(&entry.next, listing.data() + 8, 8);
  std::memcpy(&length, listing.data() + 16, 2);
  std::memcpy(&entry.kind, listing.data() + 18, 1);
  // SAFETY: bytes seen as characters; the name ends with a NUL.
  entry.name = reinterpret_cast<const char*>(listing.data() + 19);
  listing = listing.subspan(std::min<std::size_t>(length, listing.size()));
  return entry;
}

// Appends one record; false when it does not fit. `entry`: of READDIRPLUS, else null.
bool append_entry(Reply& reply, const fuse_entry_out* entry, const HostEntry& host, std::uint64_t number) {
  constexpr std::byte kPadding[8] = {};
  const std::size_t header = (entry != nullptr ? sizeof(fuse_entry_out) : 0) + FUSE_NAME_OFFSET;
  const std::size_t whole = FUSE_REC_ALIGN(header + host.name.size());
  if (reply.room().size() < whole) return false;
  if (entry != nullptr) (void)reply.append(*entry);
  struct {
    std::uint64_t ino, off;
    std::uint32_t namelen, type;
  } const record{number, host.next, static_cast<std::uint32_t>(host.name.size()), host.kind};
  (void)reply.append(record);
  (void)reply.append_bytes(std::as_bytes(std::span(host.name.data(), host.name.size())));
  return reply.append_bytes(std::span(kPadding).first(whole - header - host.name.size()));
}

bool is_dots(std::string_view name) noexcept { return name == "." || name == ".."; }

}  // namespace

int Server::opendir(Inode& inode, const Request&, Reply& reply) {
  if (!inode.is_directory()) return ENOTDIR;
  base::UniqueFd fd;
  Facts facts{};
  if (const int error = inodes_.open(inode, O_RDONLY, fd, facts); error != 0) return error;
  Handle* handle = nullptr;
  if (const int error = inodes_.add_handle(&inode, std::move(fd), O_RDONLY, true, handle); error != 0) return error;
  return reply.append(fuse_open_out{handle->number, 0, 0}) ? 0 : EIO;
}

int Server::readdir(Inode& inode, const Request& request, Reply& reply) { return list(inode, request, false, reply); }
int Server::readdirplus(Inode& inode, const Request& request, Reply& reply) {
  return list(inode, request, true, reply);
}

int Server::list(Inode& inode, const Request& request, bool plus, Reply& reply) {
  const auto in = request.body<fuse_read_in>();
  Handle* handle = inodes_.find_handle(in.fh, &inode);
  if (handle == nullptr || !handle->directory) return EBADF;
  if (in.offset > INT64_MAX) return EINVAL;
  reply.limit(std::min<std::size_t>(in.size, limits::kFsdDataBytesMax));
  const int fd = handle->fd.get();
  if (handle->position != in.offset) {
    handle->position = kNowhere;
    if (::lseek(fd, static_cast<off_t>(in.offset), SEEK_SET) < 0) return errno;
  }
  std::uint64_t position = in.offset;
  for (;;) {
    // About as many entries as still fit: what is read in vain is read again the next time.
    const std::size_t wanted = reply.room().size() / (plus ? 5 : 1);
    const auto buffer = std::span(listing_).first(std::clamp(wanted, kLongestRecord, listing_.size()));
    const long n = ::syscall(SYS_getdents64, fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return reply.body_bytes() == 0 ? errno : 0;
    if (n == 0) break;
    std::span<const std::byte> listing = buffer.first(static_cast<std::size_t>(n));
    while (!listing.empty()) {
      const HostEntry host = take_entry(listing);
      fuse_entry_out entry{};  // with node 0: the guest looks it up when it needs it
      Inode* found = nullptr;
      if (plus && !is_dots(host.name) && check_name(host.name) == 0) {
        const std::size_t whole = FUSE_REC_ALIGN(sizeof entry + FUSE_NAME_OFFSET + host.name.size());
        const int error = reply.room().size() < whole ? 0 : find(inode, host.name, entry, found);
        if (error == ENOENT) continue;  // gone since
      }
      const std::uint64_t number = inode_number_of(*inode.mount, inode.device, host.number);
      if (plus && found == nullptr) {
        entry.attr.ino = number;
        entry.attr.mode = static_cast<std::uint32_t>(host.kind) << 12;
      }
      if (!append_entry(reply, plus ? &entry : nullptr, host, found != nullptr ? entry.attr.ino : number)) {
        handle->position = kNowhere;
        return reply.body_bytes() == 0 ? EINVAL : 0;
      }
      position = host.next;
    }
    handle->position = position;
  }
  handle->position = position;
  return 0;
}

fuse_attr root_attributes() noexcept {
  fuse_attr attr{};
  attr.ino = FUSE_ROOT_ID;
  attr.mode = S_IFDIR | 0555;
  attr.nlink = 2;
  attr.blksize = 4096;
  return attr;
}

int Server::lookup_mount(std::string_view name, fuse_entry_out& entry) {
  std::uint32_t index = 0;
  const auto [end, failed] = std::from_chars(name.data(), name.data() + name.size(), index);
  // "07" is no other name of 7.
  if (failed != std::errc() || end != name.data() + name.size() || (name.size() > 1 && name[0] == '0')) return ENOENT;
  const MountTable::Slot mount = mounts_.at(index);
  if (!mount) return ENOENT;
  if (const int error = inodes_.make_room(1); error != 0) return error;
  base::UniqueFd path;
  if (const int error = refer(mount->root.get(), ".", path); error != 0) return error;
  Facts facts{};
  if (const int error = look_at(path.get(), facts); error != 0) return error;
  Inode* inode = nullptr;
  if (const int error = inodes_.remember(mount, nullptr, {}, std::move(path), facts, false, inode); error != 0) {
    return error;
  }
  // Not believed for any time: what is mounted there may change at once.
  entry.nodeid = inode->node;
  entry.attr_valid = kAttributeSeconds;
  entry.attr = attributes_of(*mount, facts);
  return 0;
}

int Server::read_root(const Request& request, bool plus, Reply& reply) {
  const auto in = request.body<fuse_read_in>();
  const Handle* handle = inodes_.find_handle(in.fh, nullptr);
  if (handle == nullptr) return EBADF;
  reply.limit(std::min<std::size_t>(in.size, limits::kFsdDataBytesMax));
  // Offsets: 1 and 2 after the dots, 3 + index after a mount.
  const auto emit = [&](std::uint64_t next, std::string_view name, std::uint64_t number) {
    fuse_entry_out entry{};
    entry.attr.ino = number;
    entry.attr.mode = S_IFDIR;
    return append_entry(reply, plus ? &entry : nullptr, {number, next, S_IFDIR >> 12, name}, number);
  };
  if (in.offset < 1 && !emit(1, ".", FUSE_ROOT_ID)) return EINVAL;
  if (in.offset < 2 && !emit(2, "..", FUSE_ROOT_ID)) return 0;
  for (const MountTable::Slot& mount : mounts_.all()) {
    const std::uint64_t next = std::uint64_t{mount->index} + 3;
    if (in.offset >= next) continue;
    if (!emit(next, std::to_string(mount->index), next)) break;
  }
  return 0;
}

int Server::serve_root(const Request& request, Reply& reply) {
  if (request.opcode->mutates == Mutates::Yes) return EROFS;
  switch (request.opcode->number) {
    case FUSE_LOOKUP: {
      fuse_entry_out entry{};
      if (const int error = lookup_mount(request.texts[0], entry); error != 0) return error;
      return reply.append(entry) ? 0 : EIO;
    }
    case FUSE_GETATTR: return reply.append(fuse_attr_out{kAttributeSeconds, 0, 0, root_attributes()}) ? 0 : EIO;
    case FUSE_OPENDIR: {
      Handle* handle = nullptr;
      if (const int error = inodes_.add_handle(nullptr, {}, O_RDONLY, true, handle); error != 0) return error;
      return reply.append(fuse_open_out{handle->number, 0, 0}) ? 0 : EIO;
    }
    case FUSE_READDIR: return read_root(request, false, reply);
    case FUSE_READDIRPLUS: return read_root(request, true, reply);
    case FUSE_RELEASEDIR: {
      Handle* handle = inodes_.find_handle(request.body<fuse_release_in>().fh, nullptr);
      if (handle == nullptr) return EBADF;
      inodes_.release(*handle);
      return 0;
    }
    case FUSE_STATFS: {
      fuse_statfs_out out{};
      out.st.bsize = out.st.frsize = 4096;
      out.st.namelen = 255;
      return reply.append(out) ? 0 : EIO;
    }
    case FUSE_ACCESS: return (request.body<fuse_access_in>().mask & W_OK) != 0 ? EROFS : 0;
    case FUSE_FSYNCDIR: return 0;
    case FUSE_OPEN: return EISDIR;
    default: return EINVAL;
  }
}

}  // namespace sandforge::fsd
