// SPDX-License-Identifier: Apache-2.0
// All tables of violations, run and counted.
#include <cstdio>

#include "vmm/violations/bench.hpp"

using namespace sandforge::vmm::test;

namespace {

constexpr int kViolationsMin = 300;

std::vector<Table> tables() {
  return {register_violations(), block_violations(), read_only_block_violations(), layered_block_violations(),
          vsock_violations(),    rng_violations(),   balloon_violations(),         fs_violations()};
}

}  // namespace

TEST_CASE("a driver may break every rule and harms nobody but itself") {
  int ran = 0;
  for (const Table& table : tables()) {
    const int rows = run_table(table);
    std::printf("violations: %d of %s\n", rows, table.name.c_str());
    ran += rows;
  }
  std::printf("violations: %d in all\n", ran);
  if (std::getenv("SANDFORGE_VIOLATION") == nullptr) CHECK(ran >= kViolationsMin);
}
