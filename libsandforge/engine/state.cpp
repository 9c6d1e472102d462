// SPDX-License-Identifier: Apache-2.0
#include "engine/state.hpp"

#include <array>
#include <initializer_list>

namespace sandforge::engine {
namespace {

constexpr std::uint32_t bits(std::initializer_list<State> states) {
  std::uint32_t set = 0;
  for (const State state : states) set |= 1u << static_cast<std::uint32_t>(state);
  return set;
}

constexpr std::uint32_t kActive = bits({State::Ready, State::Executing, State::WritingFile, State::CopyingArtifacts});
constexpr std::uint32_t kEnds = bits({State::Error, State::Destroying});

// Row: from; bits: to.
constexpr std::array<std::uint32_t, kStateCount> kMoves = {
    bits({State::Provisioning}) | kEnds,  // requested
    bits({State::Ready}) | kEnds,         // provisioning
    kActive | kEnds,                      // ready
    kActive | kEnds,                      // executing
    0,                                    // interactive: no terminal yet
    kActive | kEnds,                      // writing_file
    kActive | kEnds,                      // copying_artifacts
    0,                                    // paused: no snapshots yet
    bits({State::Destroyed}),             // destroying
    0,                                    // destroyed
    bits({State::Destroying}),            // error
};

constexpr std::array<const char*, kStateCount> kNames = {
    "requested",         "provisioning", "ready",      "executing", "interactive", "writing_file",
    "copying_artifacts", "paused",       "destroying", "destroyed", "error",
};

}  // namespace

const char* state_name(State state) noexcept {
  const auto index = static_cast<std::uint32_t>(state);
  return index < kStateCount ? kNames[index] : "unknown";
}

State shown_state(State phase, const Activity& activity) noexcept {
  if (phase != State::Ready) return phase;
  if (activity.execs > 0) return State::Executing;
  if (activity.writes > 0) return State::WritingFile;
  if (activity.reads > 0) return State::CopyingArtifacts;
  return State::Ready;
}

bool may_move(State from, State to) noexcept {
  const auto row = static_cast<std::uint32_t>(from);
  const auto column = static_cast<std::uint32_t>(to);
  if (row >= kStateCount || column >= kStateCount || from == to) return false;
  return (kMoves[row] >> column & 1u) != 0;
}

}  // namespace sandforge::engine
