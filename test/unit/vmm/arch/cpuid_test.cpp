// SPDX-License-Identifier: Apache-2.0
#include "vmm/arch/x86_64/cpuid.hpp"

#include <doctest/doctest.h>

using namespace sandforge;
using vmm::CpuidEntry;

namespace {

const CpuidEntry* find(const std::vector<CpuidEntry>& table, std::uint32_t leaf, std::uint32_t subleaf = 0) {
  for (const CpuidEntry& entry : table) {
    if (entry.leaf == leaf && entry.subleaf == subleaf) return &entry;
  }
  return nullptr;
}

std::vector<CpuidEntry> host() {
  return {
      {0, 0, false, 0x1f, 0, 0, 0},
      {1, 0, false, 0, 0x00400800, 0xffffffff, 0xffffffff},
      {4, 0, true, 0x7c004121, 0, 0, 0},
      {4, 1, true, 0x7c01c163, 0, 0, 0},
      {4, 2, true, 0, 0, 0, 0},
      {0xa, 0, false, 0x07300404, 0, 0, 0},
      {0xd, 0, true, 0x207, 0, 9999, 0},
      {0xd, 1, true, 0x5, 0, 0x100, 0},
      {0xd, 2, true, 256, 576, 0, 0},
      {0xd, 3, true, 64, 960, 0, 0},  // not in the mask of subleaf 0
      {0xd, 9, true, 8, 2688, 0, 0},
      {0x40000001, 0, false, 0xffffffff, 0, 0, 0},
      {0x80000001, 0, false, 0, 0, 0xffffffff, 0},
      {0x8000000a, 0, false, 1, 0, 0, 0xffffffff},
  };
}

}  // namespace

TEST_CASE("a guest sees a hypervisor and a local APIC, and no nested virtualisation or counters") {
  const auto table = vmm::guest_cpuid(host(), 0, 1);
  const CpuidEntry* one = find(table, 1);
  REQUIRE(one != nullptr);
  CHECK((one->ecx & (1u << 31)) != 0);
  CHECK((one->ecx & (1u << 24)) != 0);
  CHECK((one->ecx & (1u << 5)) == 0);                      // VMX
  CHECK((find(table, 0x80000001)->ecx & (1u << 2)) == 0);  // SVM
  CHECK(find(table, 0x8000000a) == nullptr);
  CHECK(find(table, 0xa) == nullptr);
  CHECK((find(table, 0x40000001)->eax & (1u << 4)) == 0);  // asynchronous page faults
}

TEST_CASE("each vCPU has its own APIC identifier and all share one socket") {
  const auto table = vmm::guest_cpuid(host(), 3, 6);
  CHECK((find(table, 1)->ebx & 0xff000000) == 0x3000000);
  CHECK((find(table, 1)->ebx & 0xff0000) == 0x60000);
  REQUIRE(find(table, 0xb, 1) != nullptr);
  CHECK(find(table, 0xb, 1)->eax == 3);  // bits of a core number
  CHECK(find(table, 0xb, 1)->ebx == 6);
  CHECK(find(table, 0xb, 1)->edx == 3);
  CHECK((find(table, 4, 0)->eax & 0x3ffc000) == 0);         // level 1: one core's
  CHECK((find(table, 4, 1)->eax & 0x3ffc000) == 7u << 14);  // level 3: everybody's
  CHECK(find(table, 4, 2)->eax == 0);                       // the end of the list stays that
}

TEST_CASE("XSAVE sizes follow from the components that are offered") {
  const auto table = vmm::guest_cpuid(host(), 0, 1);
  CHECK(find(table, 0xd, 0)->ecx == 2696);
  CHECK(find(table, 0xd, 0)->ebx == 576);
  CHECK(find(table, 0xd, 1)->ebx == 0);  // no compaction, so no size and no supervisor state
  CHECK(find(table, 0xd, 1)->ecx == 0);
  CHECK(find(table, 0xd, 3) == nullptr);
  CHECK(vmm::xsave_components(table) == 0x207);
}
