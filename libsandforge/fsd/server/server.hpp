// SPDX-License-Identifier: Apache-2.0
// Answers FUSE requests from host directories: a synthetic root whose children are the mounts, and everything below
// them. Worker thread only; BLOCKS for as long as the host's file system does.
//
// Who sees what: files of the owner of a mount's directory show as 0:0, all others as 65534:65534; a chown to what is
// shown succeeds and changes nothing, any other is EPERM. Set-id bits of files are never set and, since this process
// has no capabilities, cleared by the host's kernel at every write, as file capabilities are.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/limits.hpp"
#include "fsd/protocol/reply.hpp"
#include "fsd/protocol/request.hpp"
#include "fsd/tree/inode_table.hpp"
#include "fsd/tree/mount_table.hpp"

namespace sandforge::fsd {

class Server {
 public:
  // `mounts` outlives it. `descriptors`: how many it may hold open.
  Server(const MountTable& mounts, std::uint64_t descriptors) : mounts_(mounts), inodes_(descriptors) {}

  struct Answer {
    bool broken = false;               // the connection cannot be trusted to be framed: end it
    std::span<const std::byte> bytes;  // in `space`; empty: the request has no answer
  };
  // `space`: at least a header; limits::kFsdReplyBytesMax for the longest. `message` is private memory.
  Answer serve(std::span<const std::byte> message, std::span<std::byte> space);

  // Lets go of what was detached since the last call or request.
  void sweep();

  const InodeTable& inodes() const noexcept { return inodes_; }

 private:
  using Handler = int (Server::*)(Inode&, const Request&, Reply&);
  static Handler handler_of(std::uint32_t opcode) noexcept;

  // Each returns 0 or an errno, and appends its answer.
  int dispatch(const Request& request, Reply& reply);
  int serve_root(const Request& request, Reply& reply);
  int init(const Request& request, Reply& reply);
  void forget_many(const Request& request);

  // names.cpp
  int lookup(Inode& parent, const Request& request, Reply& reply);
  int symlink(Inode& parent, const Request& request, Reply& reply);
  int mknod(Inode& parent, const Request& request, Reply& reply);
  int mkdir(Inode& parent, const Request& request, Reply& reply);
  int unlink(Inode& parent, const Request& request, Reply& reply);
  int rmdir(Inode& parent, const Request& request, Reply& reply);
  int rename(Inode& parent, const Request& request, Reply& reply);
  int rename_flags(Inode& parent, const Request& request, Reply& reply);
  int link(Inode& parent, const Request& request, Reply& reply);
  int rename_to(Inode& parent, const Request& request, std::uint64_t new_parent, unsigned flags);
  int unlink_as(Inode& parent, const Request& request, int flags);
  // files.cpp
  int open(Inode& inode, const Request& request, Reply& reply);
  int create(Inode& parent, const Request& request, Reply& reply);
  int tmpfile(Inode& parent, const Request& request, Reply& reply);
  int read(Inode& inode, const Request& request, Reply& reply);
  int write(Inode& inode, const Request& request, Reply& reply);
  int flush(Inode& inode, const Request& request, Reply& reply);
  int release(Inode& inode, const Request& request, Reply& reply);
  int fsync(Inode& inode, const Request& request, Reply& reply);
  int fallocate(Inode& inode, const Request& request, Reply& reply);
  int lseek(Inode& inode, const Request& request, Reply& reply);
  int copy_file_range(Inode& inode, const Request& request, Reply& reply);
  int reply_opened(Inode& inode, base::UniqueFd fd, int flags, const Facts& facts, Reply& reply);
  // attributes.cpp
  int getattr(Inode& inode, const Request& request, Reply& reply);
  int setattr(Inode& inode, const Request& request, Reply& reply);
  int readlink(Inode& inode, const Request& request, Reply& reply);
  int statfs(Inode& inode, const Request& request, Reply& reply);
  int access(Inode& inode, const Request& request, Reply& reply);
  int change_mode(Inode& inode, unsigned mode);
  int change_size(Inode& inode, const fuse_setattr_in& in);
  int change_times(Inode& inode, const fuse_setattr_in& in);
  // directories.cpp
  int opendir(Inode& inode, const Request& request, Reply& reply);
  int readdir(Inode& inode, const Request& request, Reply& reply);
  int readdirplus(Inode& inode, const Request& request, Reply& reply);
  int list(Inode& inode, const Request& request, bool plus, Reply& reply);
  int read_root(const Request& request, bool plus, Reply& reply);
  int lookup_mount(std::string_view name, fuse_entry_out& entry);

  // Finds `name` in `parent`, which counts as a look-up of the guest.
  int find(Inode& parent, std::string_view name, fuse_entry_out& entry, Inode*& out);
  int find_and_reply(Inode& parent, const Request& request, Reply& reply);
  // The directory `node` of the same mount as `near`.
  int directory_of(std::uint64_t node, const Inode& near, Inode*& out);

  const MountTable& mounts_;
  InodeTable inodes_;
  std::uint64_t swept_ = 0;  // the generation of mounts_ up to which detached mounts were let go
  bool initialised_ = false;
  std::array<std::byte, 32 * 1024> listing_{};  // of one read of a directory of the host
};

// What a guest may believe for how long. Names that are not there are never believed.
inline constexpr std::uint64_t kEntrySeconds = 1, kAttributeSeconds = 1;
inline constexpr std::uint32_t kNobody = 65534;

// As the guest sees it.
fuse_attr attributes_of(const Mount& mount, const Facts& facts) noexcept;
std::uint64_t inode_number_of(const Mount& mount, std::uint64_t device, std::uint64_t number) noexcept;
fuse_attr root_attributes() noexcept;

}  // namespace sandforge::fsd
