// SPDX-License-Identifier: Apache-2.0
// Base64 with the standard alphabet (RFC 4648, section 4).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace sandforge::server {

void append_base64(std::string& out, std::string_view bytes);

// Strict: padded, no white space, unused bits zero. Empty optional for anything else.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace sandforge::server
