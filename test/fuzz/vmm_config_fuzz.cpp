// SPDX-License-Identifier: Apache-2.0
// Fuzz target: the monitor's configuration message.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "vmm/monitor/config.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // SAFETY: bytes seen as characters.
  const auto config = sandforge::vmm::decode_config({reinterpret_cast<const char*>(data), size});
  if (config && config.value().command_line.size() > sandforge::vmm::kConfigCommandLineMax) std::abort();
  return 0;
}
