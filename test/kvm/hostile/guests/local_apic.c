// SPDX-License-Identifier: Apache-2.0
// The local APIC: every register, every way to send an interrupt, to oneself and to all.
#include "../guest.h"

void guest_main(void) {
  begin();
  fault_resume = 0;
  for (uint32_t offset = 0; offset < 0x1000; offset += 4) {
    (void)*at32(LOCAL_APIC + offset);
    if (offset != 0x300) *at32(LOCAL_APIC + offset) = next_random();
  }
  *at32(LOCAL_APIC + 0xf0) = 0x1ff;
  for (uint32_t i = 0; i < 400; ++i) {
    uint32_t command = next_random() & 0x000cdfff;
    // An INIT or a start-up message to itself would end the guest: that is another case.
    if ((command >> 8 & 7) >= 5) command &= ~0x700u;
    interrupt_command(command, next_random() & 0xff);
  }
  finish();
}

void ap_main(void) {}
