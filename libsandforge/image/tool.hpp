// SPDX-License-Identifier: Apache-2.0
// Host programs that builds and imports use (apt, mmdebstrap, mkfs.erofs, tar, …): found, run, and their failures told.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace sandforge::image {

// A long step started, went on or ended; `total` 0 is unknown. On the thread of the build. May be empty.
using Progress = std::function<void(std::string_view step, std::uint64_t done, std::uint64_t total)>;

struct Tool {
  std::string_view program;
  std::string_view package;  // Debian's
};
inline constexpr Tool kApt{"apt-get", "apt"};
inline constexpr Tool kAptCache{"apt-cache", "apt"};
inline constexpr Tool kDpkgDeb{"dpkg-deb", "dpkg"};
inline constexpr Tool kMmdebstrap{"mmdebstrap", "mmdebstrap"};
inline constexpr Tool kMkfsErofs{"mkfs.erofs", "erofs-utils"};
inline constexpr Tool kDepmod{"depmod", "kmod"};
inline constexpr Tool kModprobe{"modprobe", "kmod"};
inline constexpr Tool kTar{"tar", "tar"};
inline constexpr Tool kNewuidmap{"newuidmap", "uidmap"};
inline constexpr Tool kGzip{"gzip", "gzip"};
inline constexpr Tool kXz{"xz", "xz-utils"};
inline constexpr Tool kLz4{"lz4", "lz4"};
inline constexpr Tool kZstd{"zstd", "zstd"};
inline constexpr Tool kSetpriv{"setpriv", "util-linux"};

// All that are missing at once. Error: unsupported "tool_missing", the remedy names the packages.
base::Status require_tools(std::initializer_list<Tool> tools);

struct ToolRun {
  Tool tool;
  std::vector<std::string> args;
  std::vector<std::string> env;  // added to a small fixed one and the host's proxy variables
  std::filesystem::path cwd = "/";
  std::filesystem::path stdin_file;   // empty: /dev/null
  std::filesystem::path stdout_file;  // empty: answered as text, 16 MiB at most
  // The program starts others, or mounts. They then live in mount and PID namespaces of their own where permitted, so
  // that all of it goes when the calling process is killed.
  bool starts_others = false;
  // Run by root, the program gets the ids of "nobody", no capabilities and no network. It must be able to reach `cwd`.
  bool unprivileged = false;
  bool merge_output = false;                           // stdout goes where stderr does
  std::function<void(std::string_view line)> on_line;  // of stderr
};
// Runs it to its end with umask 022; it dies with the calling thread. BLOCKS. Answers its standard output.
// Errors: unsupported "tool_missing"; for a status that is not 0: disconnected "mirror_unreachable" or exhausted
// "no_space" where the program's last lines say so, else internal "tool_failed".
base::Result<std::string> run_tool(const ToolRun& run);

}  // namespace sandforge::image
