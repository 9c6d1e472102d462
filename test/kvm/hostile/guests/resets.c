// SPDX-License-Identifier: Apache-2.0
// Resets the disk, the random generator and the balloon again and again while they have work.
#include "../guest.h"

void guest_main(void) {
  static const uint32_t queues[] = {1, 1, 3};
  static const uint32_t windows[] = {DISK, RNG, DEVICES + 0x4000};
  begin();
  for (uint32_t i = 0; i < 90; ++i) {
    const uint32_t window = windows[i % 3];
    virtio_start(window, queues[i % 3]);
    for (uint32_t slot = 0; slot < 16; ++slot) block_request(slot, slot % 2, slot * 8);
    notify(window, 0);
    if (i % 2 == 0) *at32(window + 0x70) = 0;
    if (i % 7 == 0) notify(window, 0);
  }
  virtio_start(DISK, 1);
  block_request(0, 0, 0);
  notify(DISK, 0);
  while (USED[1] == 0) (void)*at32(DISK + 0x70);
  finish();
}

void ap_main(void) {}
