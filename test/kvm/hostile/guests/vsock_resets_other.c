// SPDX-License-Identifier: Apache-2.0
// One vCPU moves bytes by the vsock device, the other resets it meanwhile.
#include "../vsock.h"

static volatile uint32_t over;

void guest_main(void) {
  begin();
  start_other();
  for (uint32_t i = 0; i < 30; ++i) vsock_work(1000 + i % 16);
  over = 1;
  finish();
}

void ap_main(void) {
  uint32_t pause = 1;
  while (!over) {
    pause = pause * 1103515245u + 12345u;
    for (volatile uint32_t wait = pause >> 18; wait > 0 && !over; --wait) __asm__ volatile("pause");
    *at32(VSOCK + 0x70) = 0;
  }
  for (;;) __asm__ volatile("pause");
}
