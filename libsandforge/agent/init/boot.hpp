// SPDX-License-Identifier: Apache-2.0
// Boot: from the kernel's first process to a guest that can run tasks. The story, in order:
//
//   1  a tmpfs becomes the agent's root (the initramfs itself cannot be pivoted away from, a tmpfs can)
//   2  /proc, /sys and /dev of the agent; console; whether the kernel's timer works
//   3  the modules of /modules, in the order of /modules/order; then the initramfs is emptied to give back its memory,
//      but for those that the first mount will need
//   4  block devices by their virtio serial: "root" (EROFS, read-only) and "disk" (ext4, private to the sandbox)
//   5  overlay of both at /newroot, shared; /proc, /sys, /dev, /run, /tmp in it
//   6  control groups; loopback up; the channel's port
//
// Only used as PID 1, before the loop runs: this may block, each wait is bounded.
#pragma once

#include <string>

#include "agent/channel.hpp"
#include "agent/console.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::agent {

inline constexpr const char* kNewRoot = "/newroot";
inline constexpr const char* kCgroupMount = "/sys/fs/cgroup";
inline constexpr const char* kPortName = "org.sandforge.agent.0";
inline constexpr int kDeviceTimeoutMs = 60'000;

struct Booted {
  Channel::Kind channel_kind = Channel::Kind::Port;
  std::uint32_t channel_port = 0;  // of a Dialer
  base::UniqueFd channel;
  base::UniqueFd modules;  // the directory of those that are left
};

base::Result<Booted> boot(Console& console);

// Writes what is in memory, unmounts what can be, and ends the guest. Does not return in a guest.
void power_off(Console& console);

}  // namespace sandforge::agent
