// SPDX-License-Identifier: Apache-2.0
#include "wire/messages.hpp"

namespace sandforge::wire {

base::Result<Open> decode_open(std::string_view payload) {
  std::uint16_t number = 0;
  Decoder decoder(payload);
  decoder(number);
  if (!decoder.ok()) return base::make_error(base::Code::Corrupt, "bad_message", "wire protocol: malformed Open");
  if (number == 0 || number > kOperationMax) {
    return base::make_error(base::Code::Unsupported, "unknown_operation",
                            "the agent does not know operation " + std::to_string(number));
  }
  return Open{static_cast<Operation>(number), decoder.rest()};
}

}  // namespace sandforge::wire
