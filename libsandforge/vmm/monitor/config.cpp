// SPDX-License-Identifier: Apache-2.0
#include "vmm/monitor/config.hpp"

namespace sandforge::vmm {

base::Result<Config> decode_config(std::string_view bytes) {
  SANDFORGE_TRY(Config config, wire::decode<Config>(bytes));
  const auto bad = [](const char* what) {
    return base::make_error(base::Code::InvalidArgument, "bad_config", std::string("monitor configuration: ") + what,
                            "install library and sandforge-vmm of one version");
  };
  if (config.magic != kConfigMagic || config.version != kConfigVersion) return bad("unknown magic or version");
  if (config.cpus == 0 || config.cpus > limits::kCpuMax) return bad("number of vCPUs out of range");
  if (config.memory_mib < limits::kMemoryMbMin || config.memory_mib > limits::kMemoryMbMax) {
    return bad("memory out of range");
  }
  if (config.serial > 1) return bad("unknown serial port");
  if (config.disk_layers >= limits::kDiskLayersMax) return bad("too many disk layers");
  return config;
}

}  // namespace sandforge::vmm
