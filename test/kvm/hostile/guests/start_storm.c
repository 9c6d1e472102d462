// SPDX-License-Identifier: Apache-2.0
// INIT and start-up messages from one vCPU to the other, without end and in any order.
#include "../guest.h"

static volatile uint32_t arrivals;

void ap_main(void) {
  for (;;) ++arrivals;
}

void guest_main(void) {
  begin();
  start_other();
  for (uint32_t i = 0; i < 1500; ++i) {
    interrupt_command(next_random() % 2 == 0 ? 0x4500 : 0x4608, 1);
    if (i % 16 == 0) interrupt_command(0x4600 | (next_random() & 0xff), 1);  // begins anywhere below 1 MiB
    if (i % 32 == 0) interrupt_command(0xc4400, 0);                          // NMI to all others
  }
  finish();
}
