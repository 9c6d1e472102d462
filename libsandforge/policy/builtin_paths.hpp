// SPDX-License-Identifier: Apache-2.0
// The directories that no policy needs to name: what is wrong with mounting each, and which. doc/policy.md has the list
// with its reasons.
#pragma once

#include <string_view>
#include <vector>

#include "policy/policy.hpp"

namespace sandforge::policy {

// In the order in which they are tried: the first that holds gives the rule.
enum class Kind {
  Listed,       // mounts.block. Nothing lifts it
  State,        // the engine's own. Nothing lifts it
  Kernel,       // "/", /proc, /sys, /dev. Nothing lifts it
  Sockets,      // of services that act for whoever can write to them. Nothing lifts it
  Credentials,  // keys and tokens of people. mounts.allow_credentials lifts it
  System,       // the host's own files. An entry of mounts.allow within it lifts it
  Shared,       // directories that everybody has something in: themselves, not what lies in them. mounts.allow lifts it
  Private,      // dot-directories of a home. mounts.allow lifts it
};
// "mounts.block", "mounts.builtin.state" and so on. Static storage.
const char* rule_of(Kind kind) noexcept;

struct Blocked {
  std::string path;  // cleaned
  Kind kind = Kind::Listed;
  bool with_contents = true;  // what lies within is blocked too; what contains it always is
};

// Everything that `policy` blocks, its paths as given and as resolved now, sorted by kind. `homes_of` are home
// directories beside those in policy.host (of the path that is judged: see home_by_place).
std::vector<Blocked> blocked_paths(const Policy& policy, const Words& more_homes);

// The home directory that `path` is or lies in, judged by its place alone (/home/NAME, /Users/NAME); "" when none.
std::string home_by_place(std::string_view path);

// Directories strictly within which own directories are fine although a System directory contains them.
bool is_exempt(std::string_view path) noexcept;

// The component of `path` that is a credential directory wherever it lies (".ssh"), as a path; "" when none.
std::string credential_component(std::string_view path);

}  // namespace sandforge::policy
