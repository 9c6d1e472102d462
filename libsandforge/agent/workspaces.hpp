// SPDX-License-Identifier: Apache-2.0
// Workspaces: directories of the host in the guest's root. The file server shows them as numbered directories of one
// file system, which is mounted out of the tasks' sight when the first is wanted; each is bound to its place from
// there. The root is shared and tasks' mount namespaces follow it, so running tasks see what is mounted and unmounted
// later.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "wire/messages.hpp"

namespace sandforge::agent {

struct WorkspaceOptions {
  std::string directory = "/mnt/files";  // where the file server's root is mounted
  int modules = -1;                      // directory with the kernel modules that this needs; borrowed; -1: none
  int stream = -1;                       // to the file server; -1: virtio-fs, or a virtio-serial port
};

// Any thread but the loop's: all of it BLOCKS, mount() as long as the file server does not answer.
class Workspaces {
 public:
  explicit Workspaces(WorkspaceOptions options) : options_(std::move(options)) {}

  // `root`: the guest's root, O_PATH. Missing directories of the guest path are made.
  // Errors: invalid_argument "bad_guest_path", conflict "already_mounted", unsupported "no_file_server", os errors.
  base::Status mount(int root, const wire::MountRequest& request);
  // Running tasks keep what they have open in it. Errors: not_found "not_mounted".
  base::Status unmount(int root, const std::string& guest_path);

 private:
  base::Status connect();

  const WorkspaceOptions options_;
  std::mutex mutex_;
  bool connected_ = false;
  std::map<std::string, std::uint64_t> mounted_;  // guest path -> the kernel's number of the mount
};

// invalid_argument "bad_guest_path" unless a workspace may be there: absolute, without NUL, "." and "..", not the root,
// nor at, in or above a pseudo file system of the guest.
base::Status check_guest_path(std::string_view path);

}  // namespace sandforge::agent
