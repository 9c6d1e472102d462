// SPDX-License-Identifier: Apache-2.0
#include "fsd/server/server.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

namespace sandforge::fsd {
namespace {

constexpr std::uint32_t kMinorMin = 31;  // Linux 5.4; guests here have 6.1 or later
constexpr std::uint32_t kPage = 4096;

// Whether a read-only mount refuses the request: the one place that decides it.
bool mutates(const Request& request) {
  switch (request.opcode->mutates) {
    case Mutates::No: return false;
    case Mutates::Yes: return true;
    case Mutates::ByFlags: break;
  }
  const std::uint32_t flags = request.body<fuse_open_in>().flags;
  return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
}

}  // namespace

Server::Handler Server::handler_of(std::uint32_t opcode) noexcept {
  switch (opcode) {
    case FUSE_LOOKUP: return &Server::lookup;
    case FUSE_GETATTR: return &Server::getattr;
    case FUSE_SETATTR: return &Server::setattr;
    case FUSE_READLINK: return &Server::readlink;
    case FUSE_SYMLINK: return &Server::symlink;
    case FUSE_MKNOD: return &Server::mknod;
    case FUSE_MKDIR: return &Server::mkdir;
    case FUSE_UNLINK: return &Server::unlink;
    case FUSE_RMDIR: return &Server::rmdir;
    case FUSE_RENAME: return &Server::rename;
    case FUSE_RENAME2: return &Server::rename_flags;
    case FUSE_LINK: return &Server::link;
    case FUSE_OPEN: return &Server::open;
    case FUSE_READ: return &Server::read;
    case FUSE_WRITE: return &Server::write;
    case FUSE_STATFS: return &Server::statfs;
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR: return &Server::release;
    case FUSE_FSYNC:
    case FUSE_FSYNCDIR: return &Server::fsync;
    case FUSE_FLUSH: return &Server::flush;
    case FUSE_OPENDIR: return &Server::opendir;
    case FUSE_READDIR: return &Server::readdir;
    case FUSE_READDIRPLUS: return &Server::readdirplus;
    case FUSE_ACCESS: return &Server::access;
    case FUSE_CREATE: return &Server::create;
    case FUSE_TMPFILE: return &Server::tmpfile;
    case FUSE_FALLOCATE: return &Server::fallocate;
    case FUSE_LSEEK: return &Server::lseek;
    case FUSE_COPY_FILE_RANGE: return &Server::copy_file_range;
    // Extended attributes: the kernel asks once and then answers EOPNOTSUPP by itself. security.* and trusted.* could
    // give the host's files capabilities; user.* would be the only ones left. SYNCFS: a guest in a loop of sync(2) must
    // not make the host write out everybody's files; fsync of each file does what it should.
    default: return nullptr;
  }
}

Server::Answer Server::serve(std::span<const std::byte> message, std::span<std::byte> space) {
  const Parsed parsed = parse(message);
  if (parsed.verdict == Parsed::Verdict::Broken) return {true, {}};
  const Opcode* opcode = parsed.request.opcode;
  const bool answered = opcode == nullptr || opcode->answered;
  Reply reply(space, parsed.request.unique, opcode == nullptr ? 0 : opcode->reply_max);
  int error = parsed.error;
  if (parsed.verdict == Parsed::Verdict::Good) {
    sweep();
    error = dispatch(parsed.request, reply);
  }
  const auto bytes = reply.finish(error);
  return {false, answered ? bytes : std::span<const std::byte>()};
}

int Server::dispatch(const Request& request, Reply& reply) {
  switch (request.opcode->number) {
    case FUSE_INIT: return init(request, reply);
    case FUSE_FORGET: inodes_.forget(request.node, request.body<fuse_forget_in>().nlookup); return 0;
    case FUSE_BATCH_FORGET: forget_many(request); return 0;
    // One request is served after the other: what it would interrupt has been answered.
    case FUSE_INTERRUPT: return 0;
    case FUSE_DESTROY:
      inodes_.clear();
      initialised_ = false;
      return 0;
    default: break;
  }
  if (!initialised_) return EIO;
  const Handler handler = handler_of(request.opcode->number);
  if (handler == nullptr) return ENOSYS;
  if (request.node == FUSE_ROOT_ID) return serve_root(request, reply);
  Inode* inode = inodes_.find(request.node);
  if (inode == nullptr || inode->mount->detached.load(std::memory_order_acquire)) return ESTALE;
  if (inode->mount->read_only && mutates(request)) return EROFS;
  const InodeTable::Pin pin(inodes_, *inode);
  return (this->*handler)(*inode, request, reply);
}

int Server::init(const Request& request, Reply& reply) {
  const auto in = request.body<fuse_init_in>();
  fuse_init_out out{};
  out.major = FUSE_KERNEL_VERSION;
  out.minor = FUSE_KERNEL_MINOR_VERSION;
  // SPEC: linux/fuse.h, "Version negotiation": a newer kernel asks again with our major version.
  if (in.major > FUSE_KERNEL_VERSION) return reply.append(out) ? 0 : EINVAL;
  if (in.major < FUSE_KERNEL_VERSION || in.minor < kMinorMin) return EPROTO;
  constexpr std::uint32_t kWanted = FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES | FUSE_AUTO_INVAL_DATA |
                                    FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_PARALLEL_DIROPS |
                                    FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS | FUSE_HANDLE_KILLPRIV_V2;
  out.flags = in.flags & kWanted;
  out.max_readahead = std::min(in.max_readahead, limits::kFsdDataBytesMax);
  out.max_write = limits::kFsdDataBytesMax;
  out.max_pages = limits::kFsdDataBytesMax / kPage;
  out.max_background = 64;
  out.congestion_threshold = 48;
  out.time_gran = 1;
  // A guest that starts anew knows nothing any more.
  inodes_.clear();
  initialised_ = true;
  return reply.append(out) ? 0 : EINVAL;
}

void Server::forget_many(const Request& request) {
  for (std::size_t i = 0; i < request.forget_count(); ++i) {
    const fuse_forget_one one = request.forget(i);
    inodes_.forget(one.nodeid, one.nlookup);
  }
}

void Server::sweep() {
  const std::uint64_t now = mounts_.generation();
  if (now == swept_) return;
  swept_ = now;
  inodes_.drop_detached();
}

}  // namespace sandforge::fsd
