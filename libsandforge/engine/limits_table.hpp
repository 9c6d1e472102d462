// SPDX-License-Identifier: Apache-2.0
// The limits of base/limits.hpp by name, for people and for GET /v1/info.
#pragma once

#include <cstdint>
#include <span>

namespace sandforge::engine {

struct NamedLimit {
  const char* name;
  std::uint64_t value;
};
// Static storage, sorted by room of the header.
std::span<const NamedLimit> limits_table() noexcept;

}  // namespace sandforge::engine
