// SPDX-License-Identifier: Apache-2.0
// One vCPU asks the disk for work, the other rewrites descriptors and indices while the device reads them.
#include "../guest.h"

static volatile uint32_t racing, over;

void ap_main(void) {
  random_state = 0x87654321;
  racing = 1;
  while (!over) {
    const uint32_t i = next_random() % QUEUE_SIZE;
    volatile struct descriptor* one = &DESCRIPTORS[i];
    switch (next_random() % 8) {
      case 0: one->address = next_random(); break;
      case 1: one->address_high = next_random() % 4 == 0 ? next_random() : 0; break;
      case 2: one->length = next_random() % 4 == 0 ? next_random() : 4096; break;
      case 3: one->flags = (uint16_t)(next_random() % 8); break;
      case 4: one->next = (uint16_t)(next_random() % 80); break;
      case 5: AVAILABLE[2 + i] = (uint16_t)(next_random() % 70); break;
      case 6: AVAILABLE[1] = (uint16_t)(AVAILABLE[1] + next_random() % 8); break;
      default: *at32(BUFFERS + i * 0x1000u) = next_random(); break;
    }
  }
  for (;;) __asm__ volatile("pause");
}

void guest_main(void) {
  uint32_t broken = 0;
  begin();
  virtio_start(DISK, 1);
  start_other();
  while (!racing) __asm__ volatile("pause");
  for (uint32_t i = 0; i < 400; ++i) {
    for (uint32_t slot = 0; slot < 8; ++slot) block_request(slot, slot % 2, slot * 8);
    notify(DISK, 0);
    if ((*at32(DISK + 0x70) & 64) != 0) {
      ++broken;
      virtio_start(DISK, 1);
    }
  }
  over = 1;
  // The device serves an honest driver again.
  virtio_start(DISK, 1);
  block_request(0, 0, 0);
  notify(DISK, 0);
  while (USED[1] == 0) (void)*at32(DISK + 0x70);
  say("report: broken ");
  say_number(broken);
  finish();
}
