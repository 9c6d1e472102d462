// SPDX-License-Identifier: Apache-2.0
#include "vmm/monitor/config.hpp"

#include <doctest/doctest.h>

using namespace sandforge;

namespace {

vmm::Config sample() {
  vmm::Config config;
  config.cpus = 2;
  config.memory_mib = 256;
  config.serial = 1;
  config.command_line = "panic=-1";
  return config;
}

}  // namespace

TEST_CASE("a configuration survives the way to the monitor") {
  const auto config = vmm::decode_config(wire::encode(sample()));
  REQUIRE(config);
  CHECK(config.value().cpus == 2);
  CHECK(config.value().memory_mib == 256);
  CHECK(config.value().command_line == "panic=-1");
}

TEST_CASE("a configuration that is cut, longer or out of range is refused") {
  const std::string whole = wire::encode(sample());
  for (std::size_t length = 0; length < whole.size(); ++length) {
    CHECK_FALSE(vmm::decode_config(whole.substr(0, length)));
  }
  CHECK_FALSE(vmm::decode_config(whole + '\0'));
  vmm::Config config = sample();
  SUBCASE("magic") { config.magic = 1; }
  SUBCASE("version") { config.version = 1; }
  SUBCASE("more layers than there are descriptors for") { config.disk_layers = limits::kDiskLayersMax; }
  SUBCASE("no vCPU") { config.cpus = 0; }
  SUBCASE("33 vCPUs") { config.cpus = 33; }
  SUBCASE("too little memory") { config.memory_mib = 127; }
  SUBCASE("too much memory") { config.memory_mib = UINT64_MAX; }
  SUBCASE("an unknown serial port") { config.serial = 2; }
  CHECK(vmm::decode_config(wire::encode(config)).error().reason == "bad_config");
}
