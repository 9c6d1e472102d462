// SPDX-License-Identifier: Apache-2.0
#include "engine/state.hpp"

#include <doctest/doctest.h>

#include <set>
#include <string>
#include <utility>

using namespace sandforge::engine;

TEST_CASE("exactly the moves of the drawing are legal, out of all pairs of states") {
  using S = State;
  std::set<std::pair<S, S>> legal = {
      {S::Requested, S::Provisioning}, {S::Requested, S::Error},    {S::Requested, S::Destroying},
      {S::Provisioning, S::Ready},     {S::Provisioning, S::Error}, {S::Provisioning, S::Destroying},
      {S::Destroying, S::Destroyed},   {S::Error, S::Destroying},
  };
  const S active[] = {S::Ready, S::Executing, S::WritingFile, S::CopyingArtifacts};
  for (const S from : active) {
    for (const S to : active) {
      if (from != to) legal.insert({from, to});
    }
    legal.insert({from, S::Error});
    legal.insert({from, S::Destroying});
  }
  for (std::uint32_t from = 0; from < kStateCount; ++from) {
    for (std::uint32_t to = 0; to < kStateCount; ++to) {
      const std::pair move{static_cast<S>(from), static_cast<S>(to)};
      CAPTURE(state_name(move.first));
      CAPTURE(state_name(move.second));
      CHECK(may_move(move.first, move.second) == legal.contains(move));
    }
  }
}

TEST_CASE("a state beyond the last has no moves and no name") {
  const auto beyond = static_cast<State>(kStateCount);
  CHECK_FALSE(may_move(beyond, State::Ready));
  CHECK_FALSE(may_move(State::Ready, beyond));
  CHECK(std::string(state_name(beyond)) == "unknown");
}

TEST_CASE("a ready sandbox shows the most telling of its operations") {
  CHECK(shown_state(State::Ready, {}) == State::Ready);
  CHECK(shown_state(State::Ready, {.reads = 1}) == State::CopyingArtifacts);
  CHECK(shown_state(State::Ready, {.writes = 2, .reads = 1}) == State::WritingFile);
  CHECK(shown_state(State::Ready, {.execs = 1, .writes = 2, .reads = 1}) == State::Executing);
}

TEST_CASE("any other phase hides what still runs") {
  for (const State phase : {State::Requested, State::Provisioning, State::Destroying, State::Destroyed, State::Error}) {
    CHECK(shown_state(phase, {.execs = 1, .writes = 1, .reads = 1}) == phase);
  }
}
