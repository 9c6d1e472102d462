// SPDX-License-Identifier: Apache-2.0
// Reads and writes model-specific registers by number; most of them fault.
#include "../guest.h"

static void probe(uint32_t first, uint32_t count) {
  for (uint32_t i = first; i < first + count; ++i) {
    uint32_t low = 0, high = 0;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(i));
    if (i == 0x1b || i == 0xc0000080) continue;  // the local APIC's place and the CPU's mode: below
    __asm__ volatile("wrmsr" : : "c"(i), "a"(low), "d"(high));
    __asm__ volatile("wrmsr" : : "c"(i), "a"(0xffffffff), "d"(0xffffffff));
    __asm__ volatile("wrmsr" : : "c"(i), "a"(next_random()), "d"(0));
  }
}

void guest_main(void) {
  begin();
  probe(0x00000000, 0x500);
  probe(0x00000800, 0x100);  // the x2APIC's
  probe(0x00000c80, 0x20);
  probe(0x40000000, 0x120);  // another hypervisor's
  probe(0x4b564d00, 0x10);   // KVM's own, with addresses all over
  probe(0xc0000080, 0x90);
  probe(0xc0010000, 0x120);
  const uint32_t before = fault_count;  // asynchronous page faults: KVM has them, the CPUID table does not offer them
  __asm__ volatile("wrmsr" : : "c"(0x4b564d02), "a"(0), "d"(0));
  say("report: not offered, faults ");
  say_number(fault_count - before);
  say("report: all faults ");
  say_number(fault_count);
  finish();
}

void ap_main(void) {}
