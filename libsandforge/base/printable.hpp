// SPDX-License-Identifier: Apache-2.0
// Bytes of others made fit for a message.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sandforge::base {

// Fit for a one-line message: control and non-UTF-8 bytes as \xNN, cut after `most` bytes.
std::string printable(std::string_view bytes, std::size_t most = 200);

}  // namespace sandforge::base
