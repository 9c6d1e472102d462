// SPDX-License-Identifier: Apache-2.0
// Asks for every leaf, and tells what must not be seen.
#include "../guest.h"

static void ask(uint32_t leaf, uint32_t subleaf, uint32_t out[4]) {
  __asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(subleaf));
}

void guest_main(void) {
  static const uint32_t starts[] = {0, 0x20000000, 0x40000000, 0x40000100, 0x80000000, 0x8fffffff, 0xc0000000};
  uint32_t out[4];
  begin();
  for (uint32_t start = 0; start < sizeof starts / sizeof starts[0]; ++start) {
    for (uint32_t leaf = 0; leaf < 0x28; ++leaf) {
      for (uint32_t subleaf = 0; subleaf < 8; ++subleaf) ask(starts[start] + leaf, subleaf * subleaf * subleaf, out);
    }
  }
  ask(1, 0, out);
  const uint32_t vmx = out[2] >> 5 & 1;
  ask(0x80000001, 0, out);
  say("report: nested ");
  say_number(vmx | (out[2] >> 2 & 1));
  finish();
}

void ap_main(void) {}
