// SPDX-License-Identifier: Apache-2.0
// Fuzz target: virtio-rng and its driver.
#include "device_script.hpp"
#include "vmm/devices/rng.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  sandforge::vmm::test::play_script(std::make_unique<sandforge::vmm::Rng>(), data, size);
  return 0;
}
