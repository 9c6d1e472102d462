// SPDX-License-Identifier: Apache-2.0
// What sandforge-vmm is started with: descriptors by fixed numbers, and one message on descriptor 3. Shared by the
// monitor and its backend.
//
//   1, 2  log: the guest's serial port and the monitor's own words (a pipe; non-blocking)
//   3     control: a SOCK_SEQPACKET socket; its first packet is one Config, then monitor/control.hpp
//   4     /dev/kvm
//   5, 6  kernel (uncompressed vmlinux) and initrd, read-only regular files
//   7, 8  root image (read-only) and private disk (read-write), regular files
//   9     agent: a listening stream socket; each connection to it becomes one to the guest's agent
//   10    control listener: a listening SOCK_SEQPACKET socket for later owners; may be absent, then the monitor ends
//         when descriptor 3 is hung up
//   11    the program itself, which it was started by; of no further use
//   12 .. for each layer below the private disk, from the top down: the map of the layer above it (of the first:
//         read-write, of others: read-only), then its file (read-only); vmm/storage/disk.hpp
//   42    file server: a stream socket for virtio-fs (vmm/devices/fs.hpp); absent: the guest has no such device
#pragma once

#include <cstdint>
#include <string>

#include "base/limits.hpp"
#include "wire/codec.hpp"

namespace sandforge::vmm {

inline constexpr int kLogFd = 1, kControlFd = 3, kKvmFd = 4, kKernelFd = 5, kInitrdFd = 6, kRootFd = 7, kDiskFd = 8,
                     kAgentFd = 9, kControlListenerFd = 10, kProgramFd = 11, kFirstLayerFd = 12;
// Behind all layers that there can be.
inline constexpr int kFileServerFd = kFirstLayerFd + 2 * (static_cast<int>(limits::kDiskLayersMax) - 1);
static_assert(kFileServerFd == 42);
inline constexpr int kLastFd = kFileServerFd;

// The guest's agent connects to this vsock port of the host (CID 2).
inline constexpr std::uint32_t kAgentPort = 1024;
// From a port below this one: no unprivileged task can be taken for the agent, nor take the agent's place.
inline constexpr std::uint32_t kAgentSourcePorts = 1024;

inline constexpr std::uint32_t kConfigMagic = 0x314d5653;  // "SVM1"
inline constexpr std::uint16_t kConfigVersion = 2;
inline constexpr std::size_t kConfigCommandLineMax = limits::kKernelCommandLineMax;
inline constexpr std::size_t kConfigBytesMax = limits::kMonitorConfigBytesMax;

// All integers little-endian, in this order, no padding; texts are a u32 length and their bytes.
struct Config {
  static constexpr const char* kName = "monitor configuration";
  std::uint32_t magic = kConfigMagic;
  std::uint16_t version = kConfigVersion;
  std::uint32_t cpus = 1;        // 1..limits::kCpuMax
  std::uint64_t memory_mib = 0;  // limits::kMemoryMbMin..kMemoryMbMax
  std::uint8_t serial = 0;       // 1: there is a serial port
  std::uint8_t disk_layers = 0;  // below the private disk's own file, up to limits::kDiskLayersMax - 1
  std::string command_line;

  template <typename Archive, typename Self>
  static void fields(Archive& archive, Self& self) {
    archive(self.magic);
    archive(self.version);
    archive(self.cpus);
    archive(self.memory_mib);
    archive(self.serial);
    archive(self.disk_layers);
    archive.text(self.command_line, kConfigCommandLineMax);
  }
};

// Decodes and checks. Errors: corrupt, invalid_argument "bad_config".
base::Result<Config> decode_config(std::string_view bytes);

}  // namespace sandforge::vmm
