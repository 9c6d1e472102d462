// SPDX-License-Identifier: Apache-2.0
// The I/O APIC's registers, all of them and those that are not there, and what they do to interrupts.
#include "../guest.h"

void guest_main(void) {
  begin();
  for (uint32_t i = 0; i < 600; ++i) {
    *at32(IO_APIC) = i < 256 ? i : next_random();
    (void)*at32(IO_APIC + 0x10);
    *at32(IO_APIC + 0x10) = next_random();
    *at32(IO_APIC + (next_random() % 0x1000 & ~3u)) = next_random();
  }
  // Unmasked with every delivery mode and vector, to every destination; then make the lines move.
  for (uint32_t mode = 0; mode < 8; ++mode) {
    for (uint32_t line = 0; line < 6; ++line) {
      *at32(IO_APIC) = 0x11 + 2 * line;
      *at32(IO_APIC + 0x10) = 0xff000000;
      *at32(IO_APIC) = 0x10 + 2 * line;
      *at32(IO_APIC + 0x10) = mode << 8 | (next_random() & 0xff);
    }
    out8(SERIAL + 1, 0);
    out8(SERIAL + 1, 2);
  }
  finish();
}

void ap_main(void) {}
