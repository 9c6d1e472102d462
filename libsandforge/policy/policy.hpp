// SPDX-License-Identifier: Apache-2.0
// Policy: what sandboxes may have of this host, as one value. Made of defaults and one TOML file (doc/policy.md).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace sandforge::policy {

// Who can ask this engine for sandboxes. Numbers are those of sandforge.h (sandforge_audience).
enum class Audience : std::uint32_t {
  Library = 0,   // the program that links the library
  Loopback = 1,  // whoever reaches a daemon on a loopback address or a Unix socket of its user
  Remote = 2,    // whoever reaches a daemon from elsewhere
};
inline constexpr std::uint32_t kAudienceCount = 3;
// "library", "loopback", "remote". Static storage.
const char* audience_name(Audience audience) noexcept;

// A value and the line of the policy file that set it; 0: built in.
template <typename T>
struct Setting {
  T value{};
  std::uint32_t line = 0;
};
using Words = std::vector<std::string>;

// What of the host the judgement of paths needs to know. Gathered by the engine; paths are absolute.
struct HostFacts {
  uid_t uid = 0;      // whose directories are "own"
  Words own_homes;    // of that user
  Words other_homes;  // of everybody else who can log in
  Words state;        // what no guest may reach: records and disks, images, sockets, tokens, the policy file
};

struct Policy {
  Audience audience = Audience::Library;
  std::string file;  // where it was read from; "" when all of it is built in

  Setting<std::int64_t> cpu, memory_mb, disk_gb, timeout_sec, sandboxes;  // at most
  Setting<Words> network_modes;
  Setting<std::optional<Words>> backends;  // none: any
  Setting<std::uint32_t> min_isolation;    // numbers of sandforge_isolation; 0: what the engine's options say

  Setting<std::int64_t> mounts_max;
  Setting<bool> own_directories;          // directories of the engine's own user may be mounted
  Setting<Words> allow, allow_read_only;  // directories that may be mounted beside those
  Setting<Words> allow_credentials;       // the same, though the built-in rules call them credentials
  Setting<Words> block;                   // directories that may not, beside what is built in

  Setting<std::optional<Words>> commands_allow;  // none: any
  Setting<Words> commands_block;

  HostFacts host;
};

// What applies without a file: the engine's own caps, and of the host's directories the user's own, unless others can
// ask. `host` is empty.
Policy defaults(Audience audience);

// `text` over `over`: what a key of the file sets replaces what is there. `filename` stands in front of errors.
// Errors: invalid_argument "invalid_policy" with line and column.
base::Result<Policy> parse(std::string_view text, std::string filename, Policy over = defaults(Audience::Library));

// One value of a policy for people: `value` is TOML.
struct SettingText {
  std::string key;     // "limits.cpu"
  std::string value;   // "8", "[\"offline\"]"
  std::string origin;  // "built in, for a daemon on loopback", or "policy.toml, line 3"
};
// Every value, in the order of the documentation.
std::vector<SettingText> describe(const Policy& policy);

// " (line 3 of the policy)" or "": for reasons.
std::string at_line(std::uint32_t line);

}  // namespace sandforge::policy
