// SPDX-License-Identifier: Apache-2.0
// How sandforge-fsd is started and what its owner may ask of it. Shared by the program and fsd/client.hpp.
//
//   1, 2  log: its own words
//   3     control: a SOCK_SEQPACKET socket
//   4     transport: a stream of FUSE messages, each framed by its own length
//   5     control listener: a listening SOCK_SEQPACKET socket for later owners; may be absent, then the hang-up of
//         descriptor 3 ends the server
//   6     the program itself, which it was started by; of no further use
//
//   server -> owner    Answer of kind Ready, id 0: it is jailed and serves
//   owner -> server    Request, any number; Attach with one descriptor (SCM_RIGHTS): the clone of a mount
//   server -> owner    Answer, exactly one a request, of the same kind and id, at once: no request waits for a file
//                      system that another request of the guest waits for. Stop is answered by the hang-up
//
// A packet is a message; all integers little-endian, no padding. Two connections at most, a newer one from the listener
// replaces the older. A packet that is no Request ends its connection. An owner that does not read is hung up.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/unique_fd.hpp"
#include "fsd/tree/mount_table.hpp"
#include "wire/codec.hpp"

namespace sandforge::fsd {

inline constexpr int kLogFd = 2, kControlFd = 3, kTransportFd = 4, kControlListenerFd = 5, kProgramFd = 6;
inline constexpr int kLastFd = kProgramFd;

// Permanent numbers.
enum class ControlKind : std::uint16_t { Ready = 0, Attach = 1, Detach = 2, Status = 3, Stop = 4 };
inline constexpr std::uint32_t kAttachReadOnly = 1;  // of `flags`

struct ControlRequest {
  static constexpr const char* kName = "file server request";
  std::uint16_t kind = 0;
  std::uint32_t id = 0;
  std::uint32_t index = 0;  // of the mount
  std::uint32_t flags = 0;

  template <typename Archive, typename Self>
  static void fields(Archive& archive, Self& self) {
    archive(self.kind);
    archive(self.id);
    archive(self.index);
    archive(self.flags);
  }
};
inline constexpr std::size_t kControlRequestBytes = 14;

struct ControlAnswer {
  static constexpr const char* kName = "file server answer";
  std::uint16_t kind = 0;
  std::uint32_t id = 0;
  std::uint32_t error = 0;  // an errno; of Attach and Detach those of MountTable, EBADMSG without a descriptor
  std::uint32_t mounts = 0;
  std::uint64_t inodes = 0, descriptors = 0, handles = 0;
  std::uint64_t served = 0;  // requests of the guest
  std::uint8_t busy = 0;     // 1: one is being served. With `served` unchanged since the last time: the host stalls

  template <typename Archive, typename Self>
  static void fields(Archive& archive, Self& self) {
    archive(self.kind);
    archive(self.id);
    archive(self.error);
    archive(self.mounts);
    archive(self.inodes);
    archive(self.descriptors);
    archive(self.handles);
    archive(self.served);
    archive(self.busy);
  }
};

// Written by the worker, read by the control thread.
struct Counters {
  std::atomic<std::uint64_t> inodes{0}, descriptors{0}, handles{0}, served{0};
  std::atomic<bool> busy{false};
};

// The server's end. Control thread only.
class Control {
 public:
  // `mounts` and `counters` outlive it. `wake`: an event descriptor that wakes the worker, borrowed.
  Control(base::UniqueFd owner, base::UniqueFd listener, int wake, MountTable& mounts, const Counters& counters)
      : owner_(std::move(owner)), listener_(std::move(listener)), wake_(wake), mounts_(mounts), counters_(counters) {}

  void ready();
  // Until Stop, or nobody can ask any more.
  void run();

 private:
  bool read(base::UniqueFd& connection);
  bool serve(int fd, const ControlRequest& request, base::UniqueFd passed);
  bool answer(int fd, ControlKind kind, std::uint32_t id, int error);
  void accept();

  base::UniqueFd owner_, listener_, successor_;
  int wake_;
  MountTable& mounts_;
  const Counters& counters_;
  bool stopped_ = false;
};

}  // namespace sandforge::fsd
