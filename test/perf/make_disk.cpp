// SPDX-License-Identifier: Apache-2.0
// make_disk FILE GIB: a private disk as the engine makes them, for the bare QEMU that it is compared with.
#include <cstdio>
#include <cstdlib>

#include "backend/private_disk.hpp"
#include "base/limits.hpp"

int main(int argc, char** argv) {
  if (argc != 3) return 64;
  const std::uint64_t bytes = std::strtoull(argv[2], nullptr, 10) * sandforge::limits::kGiB;
  const auto status = sandforge::backend::make_private_disk(argv[1], bytes);
  if (!status) std::fprintf(stderr, "%s\n", status.error().message.c_str());
  return status ? 0 : 1;
}
