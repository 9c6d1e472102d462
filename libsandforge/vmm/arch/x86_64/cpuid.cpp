// SPDX-License-Identifier: Apache-2.0
// SPEC: Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E; Linux Documentation/virt/kvm/x86/cpuid.rst.
#include "vmm/arch/x86_64/cpuid.hpp"

#include <algorithm>
#include <bit>

namespace sandforge::vmm {
namespace {

constexpr std::uint32_t bit(unsigned number) { return 1u << number; }

// Leaves that the guest does not get at all: performance counters, resource control, SGX, processor trace, nested
// virtualisation (AMD), memory encryption. A missing leaf reads as zeros.
constexpr std::uint32_t kHiddenLeaves[] = {0xa, 0xf, 0x10, 0x12, 0x14, 0x1f, 0x8000000a, 0x8000001f, 0x80000022};

// Of KVM's own features (0x40000001): clock, I/O delay, steal time, end of interrupt, spin locks, flush, IPI, yield.
// Not: asynchronous page faults and migration control, which need more of a monitor than this one does.
constexpr std::uint32_t kKvmFeatures =
    bit(0) | bit(1) | bit(3) | bit(5) | bit(6) | bit(7) | bit(9) | bit(11) | bit(12) | bit(13) | bit(24);

bool hidden(std::uint32_t leaf) {
  return std::find(std::begin(kHiddenLeaves), std::end(kHiddenLeaves), leaf) != std::end(kHiddenLeaves);
}

struct Topology {
  std::uint32_t index, count, width;  // width: bits of an APIC identifier that number the cores
};

void adjust_leaf_1(CpuidEntry& entry, const Topology& topology) {
  constexpr std::uint32_t kVmx = bit(5), kDebugStore = bit(2), kPerfCapabilities = bit(15), kX2Apic = bit(21),
                          kTscDeadline = bit(24), kHypervisor = bit(31), kSeveral = bit(28), kMonitor = bit(3),
                          kDebugStoreEdx = bit(21);
  entry.ecx &= ~(kVmx | kDebugStore | kPerfCapabilities | kMonitor);
  // The local APIC is KVM's: x2APIC and the deadline timer are there on every host, whatever its CPU has.
  entry.ecx |= kHypervisor | kX2Apic | kTscDeadline;
  entry.edx &= ~(kSeveral | kDebugStoreEdx);
  if (topology.count > 1) entry.edx |= kSeveral;
  entry.ebx = (entry.ebx & 0xffff) | (topology.count << 16) | (topology.index << 24);
}

// Caches: level 3 belongs to all cores, the others to one.
void adjust_cache(CpuidEntry& entry, const Topology& topology, bool intel) {
  if ((entry.eax & 0x1f) == 0) return;  // the end of the list
  const std::uint32_t level = (entry.eax >> 5) & 7, all = bit(topology.width) - 1;
  entry.eax &= ~(0xfffu << 14);
  if (level >= 3) entry.eax |= all << 14;
  if (intel) entry.eax = (entry.eax & 0x03ffffffu) | (std::min(all, 63u) << 26);
}

void adjust_extended(CpuidEntry& entry, const Topology& topology) {
  constexpr std::uint32_t kCmpLegacy = bit(1), kSvm = bit(2), kIbs = bit(10), kCounters = bit(23) | bit(24) | bit(28);
  if (entry.leaf == 0x80000001) {
    entry.ecx &= ~(kSvm | kIbs | kCounters | kCmpLegacy);
  } else if (entry.leaf == 0x80000008) {
    entry.ecx = (topology.width << 12) | (topology.count - 1);
  } else if (entry.leaf == 0x8000001d) {
    adjust_cache(entry, topology, false);
  } else if (entry.leaf == 0x8000001e) {
    entry.eax = topology.index;
    entry.ebx = topology.index;  // core; one thread each
    entry.ecx = 0;               // node
  }
}

// Leaf 0xb: level 0 has one thread a core, level 1 all cores of the socket.
void add_topology(std::vector<CpuidEntry>& table, const Topology& topology) {
  constexpr std::uint32_t kThread = 1u << 8, kCore = 2u << 8;
  table.push_back({0xb, 0, true, 0, 1, 0 | kThread, topology.index});
  table.push_back({0xb, 1, true, topology.width, topology.count, 1 | kCore, topology.index});
  table.push_back({0xb, 2, true, 0, 0, 2, topology.index});
}

constexpr std::uint32_t kLegacyArea = 576;  // FXSAVE area and the header of XSAVE

// Leaf 0xd: the guest's kernel adds up the parts it enables and warns with a stack trace when a size disagrees. Which
// parts exist is stated once, in subleaf 0 (and 1 for supervisor state); parts outside that go, sizes follow from it.
void adjust_xsave(std::vector<CpuidEntry>& table) {
  constexpr std::uint32_t kCompaction = bit(1) | bit(3);  // XSAVEC, XSAVES
  std::uint64_t user = 0, supervisor = 0;
  std::uint32_t features = 0;
  for (const CpuidEntry& entry : table) {
    if (entry.leaf != 0xd) continue;
    if (entry.subleaf == 0) user = entry.eax | (std::uint64_t{entry.edx} << 32);
    if (entry.subleaf == 1) features = entry.eax;
    if (entry.subleaf == 1) supervisor = entry.ecx | (std::uint64_t{entry.edx} << 32);
  }
  if ((features & kCompaction) == 0) supervisor = 0;
  std::erase_if(table, [&](const CpuidEntry& entry) {
    return entry.leaf == 0xd && entry.subleaf >= 2 &&
           (entry.subleaf >= 63 || (((user | supervisor) >> entry.subleaf) & 1) == 0);
  });
  std::uint32_t standard = kLegacyArea, compact = kLegacyArea;
  for (const CpuidEntry& entry : table) {
    if (entry.leaf != 0xd || entry.subleaf < 2) continue;
    if (((user >> entry.subleaf) & 1) != 0) standard = std::max(standard, entry.ebx + entry.eax);
    if ((entry.ecx & 2) != 0) compact = (compact + 63) / 64 * 64;
    compact += entry.eax;
  }
  for (CpuidEntry& entry : table) {
    if (entry.leaf != 0xd || entry.subleaf > 1) continue;
    if (entry.subleaf == 0) {
      entry.ebx = kLegacyArea;  // for XCR0 as after a reset; KVM follows the guest's later choices
      entry.ecx = standard;
    } else {
      entry.ebx = (features & kCompaction) != 0 ? compact : 0;
      entry.ecx = static_cast<std::uint32_t>(supervisor);
      entry.edx = static_cast<std::uint32_t>(supervisor >> 32);
    }
  }
}

}  // namespace

std::uint64_t xsave_components(const std::vector<CpuidEntry>& table) {
  for (const CpuidEntry& entry : table) {
    if (entry.leaf == 0xd && entry.subleaf == 0) return entry.eax | (std::uint64_t{entry.edx} << 32);
  }
  return 0;
}

std::vector<CpuidEntry> guest_cpuid(const std::vector<CpuidEntry>& supported, std::uint32_t index,
                                    std::uint32_t count) {
  const Topology topology{index, count, static_cast<std::uint32_t>(std::bit_width(count - 1))};
  std::vector<CpuidEntry> table;
  bool has_topology_leaf = false;
  for (CpuidEntry entry : supported) {
    if (hidden(entry.leaf) || entry.leaf == 0xb) continue;
    if (entry.leaf == 0) has_topology_leaf = entry.eax >= 0xb;
    if (entry.leaf == 1) adjust_leaf_1(entry, topology);
    if (entry.leaf == 4) adjust_cache(entry, topology, true);
    if (entry.leaf == 0x40000001) entry.eax &= kKvmFeatures;
    if (entry.leaf >= 0x80000000) adjust_extended(entry, topology);
    table.push_back(entry);
  }
  if (has_topology_leaf) add_topology(table, topology);
  adjust_xsave(table);
  return table;
}

}  // namespace sandforge::vmm
