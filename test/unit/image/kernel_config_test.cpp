// SPDX-License-Identifier: Apache-2.0
#include "image/kernel_config.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "image/embedded.hpp"

namespace sandforge::image {
namespace {

using Lines = std::vector<std::string_view>;

TEST_CASE("a kernel configuration's lines are its options, set and off; comments and blank lines are not") {
  CHECK(config_lines("# why\n\nCONFIG_A=y\n# CONFIG_B is not set\n  CONFIG_C=y\nCONFIG_D=\"x y\" \r\nCONFIG_E\n") ==
        Lines{"CONFIG_A=y", "# CONFIG_B is not set", "CONFIG_D=\"x y\""});
  CHECK(config_lines("").empty());
  CHECK(config_lines("# CONFIG_ is not set").size() == 0);
  CHECK(config_lines("CONFIG_A=y") == Lines{"CONFIG_A=y"});
}

TEST_CASE("options that a kernel's sources do not grant are named, and only those") {
  constexpr std::string_view kGranted = "CONFIG_A=y\nCONFIG_N=32\n# CONFIG_OFF is not set\nCONFIG_FORCED=y\n";
  CHECK(refused_lines("CONFIG_A=y\nCONFIG_N=32\n# CONFIG_OFF is not set\n", kGranted).empty());
  CHECK(refused_lines("CONFIG_N=64\n", kGranted) == Lines{"CONFIG_N=64"});
  CHECK(refused_lines("CONFIG_OFF=y\n", kGranted) == Lines{"CONFIG_OFF=y"});
  CHECK(refused_lines("CONFIG_UNKNOWN=y\n", kGranted) == Lines{"CONFIG_UNKNOWN=y"});
  CHECK(refused_lines("# CONFIG_FORCED is not set\n", kGranted) == Lines{"# CONFIG_FORCED is not set"});
  CHECK(refused_lines("# CONFIG_UNKNOWN is not set\n", kGranted).empty());
}

TEST_CASE("the configuration of the built kernel names every option once, and gives each group a reason") {
  const Lines lines = config_lines(kKernelConfig);
  CHECK(lines.size() > 100);
  std::set<std::string_view> options;
  for (std::string_view line : lines) {
    if (line.starts_with("# ")) line.remove_prefix(2);
    CHECK_MESSAGE(options.insert(line.substr(0, line.find_first_of("= "))).second, line);
  }
  // What stands first in each paragraph is a comment.
  const std::string_view text = kKernelConfig;
  for (std::size_t at = text.find("\n\n"); at != std::string_view::npos; at = text.find("\n\n", at + 2)) {
    const std::string_view first = text.substr(at + 2, text.find('\n', at + 2) - at - 2);
    const bool reason = first.starts_with("# ") && !first.ends_with(" is not set");
    CHECK_MESSAGE(reason, first);
  }
}

TEST_CASE("the built kernel has what boots a guest built in, nothing loadable, no PCI and no 32-bit calls") {
  const Lines lines = config_lines(kKernelConfig);
  for (const char* line :
       {"CONFIG_PVH=y", "CONFIG_VIRTIO_MMIO=y", "CONFIG_VIRTIO_BLK=y", "CONFIG_VIRTIO_VSOCKETS=y",
        "CONFIG_VIRTIO_CONSOLE=y", "CONFIG_EROFS_FS=y", "CONFIG_OVERLAY_FS=y", "CONFIG_EXT4_FS=y", "CONFIG_VIRTIO_FS=y",
        "CONFIG_SECCOMP_FILTER=y", "CONFIG_SECURITY_LANDLOCK=y", "CONFIG_USER_NS=y", "CONFIG_VMGENID=y",
        "# CONFIG_MODULES is not set", "# CONFIG_PCI is not set", "# CONFIG_IA32_EMULATION is not set"}) {
    CHECK_MESSAGE(std::find(lines.begin(), lines.end(), line) != lines.end(), line);
  }
}

}  // namespace
}  // namespace sandforge::image
