// SPDX-License-Identifier: Apache-2.0
// The states of a sandbox, and the only legal moves between them.
//
//   requested -> provisioning -> ready <-> executing | writing_file | copying_artifacts
//        \            |            |            |
//         \           v            v            v
//          `------> error      destroying -> destroyed        (error -> destroying too)
//
// A sandbox has a *phase* (requested, provisioning, ready, destroying, destroyed, error) and, while ready, any number
// of operations at once; it shows the most telling of them: executing > writing_file > copying_artifacts > ready.
// `interactive` and `paused` are reserved for terminals and snapshots.
#pragma once

#include <cstdint>

namespace sandforge::engine {

// Numbers are those of sandforge.h (sandforge_state) and permanent.
enum class State : std::uint32_t {
  Requested = 0,
  Provisioning = 1,
  Ready = 2,
  Executing = 3,
  Interactive = 4,
  WritingFile = 5,
  CopyingArtifacts = 6,
  Paused = 7,
  Destroying = 8,
  Destroyed = 9,
  Error = 10,
};
inline constexpr std::uint32_t kStateCount = 11;

// The words of the HTTP API; "unknown" beyond them. Static storage.
const char* state_name(State state) noexcept;

// Operations that run now.
struct Activity {
  std::uint32_t execs = 0;
  std::uint32_t writes = 0;  // file contents going in
  std::uint32_t reads = 0;   // file contents coming out
};
// What a sandbox of `phase` shows.
State shown_state(State phase, const Activity& activity) noexcept;

// Whether a sandbox may go from one shown state to another. Staying is not a move.
bool may_move(State from, State to) noexcept;

}  // namespace sandforge::engine
