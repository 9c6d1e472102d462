// SPDX-License-Identifier: Apache-2.0
// Where a guest finds the file server of its workspaces: a virtio-fs device with this tag, else a virtio-serial port of
// this name. FUSE messages go over either.
#pragma once

namespace sandforge::wire {

inline constexpr const char* kFileServerTag = "sandforge";
inline constexpr const char* kFileServerPort = "org.sandforge.files.0";

}  // namespace sandforge::wire
