// SPDX-License-Identifier: Apache-2.0
// Violations of virtio-vsock.
#include "vmm/violations/vsock_bench.hpp"

namespace sandforge::vmm::test {

Table vsock_violations() {
  Table out{"vsock", {}};
  for (const std::uint32_t queue : {vsock::kToGuest, vsock::kFromGuest}) {
    const auto first = static_cast<std::ptrdiff_t>(out.cases.size());
    append_common<VsockBench>(out, layout_rows(queue));
    append_common<VsockBench>(out, ring_rows(queue));
    for (auto at = out.cases.begin() + first; at != out.cases.end(); ++at) {
      at->name = (queue == vsock::kToGuest ? "to the guest: " : "from the guest: ") + at->name;
    }
  }
  return out;
}

}  // namespace sandforge::vmm::test
