// SPDX-License-Identifier: Apache-2.0
// What each operation may exchange, as a table: the session checks a hostile agent's frames against it.
// The contract behind it is the table in wire/messages.hpp.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.hpp"
#include "wire/messages.hpp"

namespace sandforge::agent_client {

struct OperationRules {
  std::uint8_t to_host = 0;                             // bit per channel on which the agent may send data
  std::uint8_t to_agent = 0;                            // bit per channel on which the host may
  bool signals = false;                                 // the host may send Signal
  bool (*meta_ok)(std::string_view payload) = nullptr;  // null: the operation has no Meta
  bool (*body_ok)(std::string_view body) = nullptr;     // null: its Result has no body
};

OperationRules rules_of(wire::Operation operation) noexcept;

// The decoded Result, if it fits the operation: the right body when ok, none or the right one otherwise.
base::Result<wire::ResultHeader> decode_result(const OperationRules& rules, std::string_view payload);

}  // namespace sandforge::agent_client
