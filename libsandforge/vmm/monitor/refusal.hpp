// SPDX-License-Identifier: Apache-2.0
// Why a monitor could not start its guest: its last packet on descriptor 3, before it ends. Shared by the monitor and
// its backend.
#pragma once

#include <string>

#include "base/result.hpp"
#include "wire/codec.hpp"

namespace sandforge::vmm {

inline constexpr std::size_t kRefusalBytesMax = 4096;

// As monitor/config.hpp encodes.
struct Refusal {
  static constexpr const char* kName = "monitor refusal";
  static constexpr std::uint32_t kMagic = 0x31525653;  // "SVR1"
  std::uint32_t magic = kMagic;
  base::Code code = base::Code::Internal;
  std::string reason, message, remedy;

  template <typename Archive, typename Self>
  static void fields(Archive& archive, Self& self) {
    archive(self.magic);
    archive.choice(self.code, base::Code::Internal);
    archive.text(self.reason, 64);
    archive.text(self.message, 2048);
    archive.text(self.remedy, 1024);
  }
};

}  // namespace sandforge::vmm
