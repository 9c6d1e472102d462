// SPDX-License-Identifier: Apache-2.0
// One vCPU moves bytes by the vsock device, the other resets it meanwhile: mostly while a stream is open, now and then
// at any other time.
#include "../vsock.h"

static volatile uint32_t over;

void guest_main(void) {
  begin();
  start_other();
  for (uint32_t i = 0; i < 40; ++i) vsock_work(1000 + i % 16);
  over = 1;
  finish();
}

void ap_main(void) {
  for (uint32_t seed = 1, round = 0; !over; ++round) {
    while (vsock_used(0)[1] == 0 && !over) __asm__ volatile("pause");  // the stream is open
    seed = seed * 1103515245u + 12345u;
    for (volatile uint32_t wait = seed >> 18; wait > 0 && !over; --wait) __asm__ volatile("pause");
    *at32(VSOCK + 0x70) = 0;
    if (round % 4 == 0) continue;
    while (vsock_used(0)[1] != 0 && !over) __asm__ volatile("pause");  // the other has begun anew
  }
  for (;;) __asm__ volatile("pause");
}
