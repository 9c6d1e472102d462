// SPDX-License-Identifier: Apache-2.0
// CpioWriter: an archive in the "newc" format, as the kernel unpacks an initrd. The same calls give the same bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace sandforge::image {

// Entries stand in the order of the calls; a directory must come before what is in it. Owner 0:0, time 0, inode numbers
// counted from 1. Names are relative ("dev/console"). Archives may stand one after the other in one initrd.
class CpioWriter {
 public:
  void directory(std::string_view name, unsigned mode = 0755);
  // Precondition: less than 4 GiB (the format's limit).
  void file(std::string_view name, std::string_view content, unsigned mode = 0644);
  void character_device(std::string_view name, unsigned major, unsigned minor, unsigned mode = 0600);
  // Ends the archive, padded to 512 bytes, and gives it away.
  std::string finish() &&;

 private:
  struct Header;
  void entry(std::string_view name, const Header& header, std::string_view content);
  std::string bytes_;
  std::uint32_t next_inode_ = 1;
};

}  // namespace sandforge::image
