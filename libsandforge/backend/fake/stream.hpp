// SPDX-License-Identifier: Apache-2.0
// One open stream of the fake agent.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/fake/agent.hpp"

namespace sandforge::backend::fake {

struct FakeAgent::Stream {
  explicit Stream(std::uint32_t number) : id(number) { credit.fill(limits::kStreamWindow); }

  const std::uint32_t id;
  bool gone = false;                                        // Result was sent
  bool cancelled = false;                                   // by the host
  std::array<std::uint32_t, wire::kChannelMax + 1> credit;  // for data to the host

  // Data from the host, always on channel 0.
  bool takes_input = false;
  bool in_ended = false;
  std::uint32_t window = limits::kStreamWindow;
  std::uint32_t to_grant = 0;

  // Exec
  std::unique_ptr<FakeTask> task;
  std::unique_ptr<Program> program;  // null: could not be started
  Clock::time_point started;
  Clock::time_point deadline = Clock::time_point::max();
  std::uint64_t timeout_ms = 0;
  bool task_ended = false;
  wire::ExecResult verdict;  // once it has ended

  // FileWrite
  std::optional<wire::FileWriteRequest> write;
  std::string written;
  int failed = 0;  // errno

  // FileRead and FileList
  struct Content {
    std::vector<std::size_t> cuts;  // ends of records; empty: cut anywhere
    std::string bytes;
    std::size_t at = 0;
  };
  std::optional<Content> content;
};

}  // namespace sandforge::backend::fake
