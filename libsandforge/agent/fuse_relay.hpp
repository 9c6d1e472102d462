// SPDX-License-Identifier: Apache-2.0
// FuseRelay: carries FUSE messages between the guest's kernel and the file server at the far end of a byte stream,
// where there is no virtio-fs device. It looks at nothing but their length.
//
//      kernel --- /dev/fuse ---> thread ---> stream        kernel <--- /dev/fuse --- thread <--- stream
//
// When either side ends, the connection is aborted: what waits fails, so that no task waits for ever.
#pragma once

#include <string>

#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::agent {

// Mounts the file system of the server behind `stream` (blocking) at `target` and starts two threads, which live until
// the server hangs up or the mount is gone. BLOCKS shortly.
base::Status start_fuse_relay(base::UniqueFd stream, const std::string& target);

}  // namespace sandforge::agent
