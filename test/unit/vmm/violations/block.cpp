// SPDX-License-Identifier: Apache-2.0
// Violations of virtio-blk.
#include "vmm/violations/block_bench.hpp"

namespace sandforge::vmm::test {

Table block_violations() {
  Table out{"blk", {}};
  append_common<BlockBench>(out, layout_rows(0));
  append_common<BlockBench>(out, ring_rows(0));
  return out;
}

Table read_only_block_violations() { return {"blk read-only", {}}; }

}  // namespace sandforge::vmm::test
