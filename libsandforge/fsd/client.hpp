// SPDX-License-Identifier: Apache-2.0
// The engine's half of a sandbox's file server: starts sandforge-fsd, gives it host directories and takes them away.
//
//   spawn() ── attach(0, …) attach(1, …) ──> the guest sees directories "0", "1" … in the root of its file system
//                └─ detach(0): requests for what is below answer ESTALE, the number can be used again
//
// The guest's half (the relay on /dev/fuse, or the monitor) has the other end of the transport.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>

#include "base/process.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "fsd/process/control.hpp"

namespace sandforge::fsd {

struct FsdOptions {
  std::filesystem::path helper_directory;  // where sandforge-fsd is; empty: as base::find_helper says
  // With whose rights it serves, when this process is root: those of the owner of the directories (owner_of).
  // Otherwise it serves with this process's own, whatever stands here.
  std::uint32_t uid = 0, gid = 0;
  base::UniqueFd transport;  // the guest's stream, handed over; empty: one is made, see take_transport()
  base::UniqueFd listener;   // a listening SOCK_SEQPACKET socket: then it outlives this process (adopt())
  base::UniqueFd log;        // takes its words; empty: nobody
};

struct Owner {
  std::uint32_t uid = 0, gid = 0;
};
// Of a directory.
base::Result<Owner> owner_of(int directory);

// One thread. Each call that asks the server BLOCKS until it has answered (microseconds) or for 5 s at most.
class FileServer {
 public:
  // BLOCKS until it is jailed and serves. Errors: not_found "helper_missing", denied "user_namespaces", those of spawn.
  static base::Result<FileServer> spawn(FsdOptions options);
  // Of one that outlived its engine, by a connection to its listener. It is killed by its pidfd.
  static FileServer adopt(base::UniqueFd control, std::filesystem::path helper_directory, Owner owner);

  // Readable once it has ended; borrowed, -1 when adopted.
  int pidfd() const noexcept { return child_.pidfd(); }
  std::int32_t pid() const noexcept { return child_.pid(); }
  // The end that speaks FUSE for the guest, when spawn() was given none. Once.
  base::UniqueFd take_transport() noexcept { return std::move(transport_); }

  // Serves `directory` (any descriptor of it) as number `index`. BLOCKS for a look at the directory, so for as long as
  // its file system does. Errors: invalid_argument "not_a_directory" and "mount_index"; conflict "mount_index_taken";
  // denied "mount_owner" (this process is root, and the directory is not of the owner that the server was started for),
  // denied "user_namespaces", conflict "directory_moved" (fsd/clone.hpp).
  base::Status attach(std::uint32_t index, int directory, bool read_only);
  // Errors: not_found.
  base::Status detach(std::uint32_t index);
  base::Result<ControlAnswer> status();
  // Ends it, whatever it is doing, and waits for the end.
  void stop();
  // It lives on without this object; only where it was given a listener.
  void leave() noexcept { child_.leave(); }

 private:
  FileServer(base::Child child, base::UniqueFd control, base::UniqueFd transport, std::filesystem::path helpers,
             Owner owner)
      : child_(std::move(child)),
        control_(std::move(control)),
        transport_(std::move(transport)),
        helpers_(std::move(helpers)),
        owner_(owner) {}
  base::Result<ControlAnswer> read_answer(std::chrono::steady_clock::time_point until);
  base::Result<ControlAnswer> ask(ControlKind kind, std::uint32_t index, std::uint32_t flags, int descriptor);

  base::Child child_;
  base::UniqueFd control_, transport_;
  std::filesystem::path helpers_;
  Owner owner_;
  std::uint32_t next_id_ = 1;
};

}  // namespace sandforge::fsd
