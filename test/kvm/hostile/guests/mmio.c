// SPDX-License-Identifier: Apache-2.0
// Holes and device registers, in every width, aligned and not, across the borders of windows.
#include "../guest.h"

static void touch(uint32_t address) {
  (void)*at8(address);
  (void)*at16(address);
  (void)*at32(address);
  *at8(address) = 0xff;
  *at16(address) = 0xffff;
  *at32(address) = 0xffffffff;
}

void guest_main(void) {
  static const uint32_t spots[] = {0xc0000000, 0xcffffffd, 0xcfffffff, 0xd0000ffd, 0xd0000ffe, 0xd0000fff,
                                   0xd0004ffd, 0xd0005000, 0xd0100000, 0xe0000000, 0xfebffffe, 0xfec00ffe,
                                   0xfec01000, 0xfedfffff, 0xfee00fff, 0xfef00000, 0xfffbc000, 0xfffffffb};
  begin();
  for (uint32_t i = 0; i < sizeof spots / sizeof spots[0]; ++i) touch(spots[i]);
  // All registers of all devices, then random ones: odd offsets, odd widths.
  for (uint32_t device = 0; device < 6; ++device) {
    for (uint32_t offset = 0; offset < 0x120; offset += 4) {
      (void)*at32(DEVICES + device * 0x1000 + offset);
      *at32(DEVICES + device * 0x1000 + offset) = next_random();
    }
  }
  for (uint32_t i = 0; i < 1500; ++i) {
    const uint32_t address = DEVICES + next_random() % 0x6000;
    const uint32_t value = next_random() >> next_random() % 32;
    switch (next_random() % 6) {
      case 0: (void)*at8(address); break;
      case 1: (void)*at16(address); break;
      case 2: (void)*at32(address); break;
      case 3: *at8(address) = (uint8_t)value; break;
      case 4: *at16(address) = (uint16_t)value; break;
      default: *at32(address & ~3u) = value; break;
    }
  }
  // Locked and string instructions on registers.
  for (uint32_t device = 0; device < 5; ++device) {
    uint32_t value = 1, count = 64;
    void* to = (void*)(DEVICES + device * 0x1000 + 0x100);
    __asm__ volatile("lock xaddl %0, (%1)" : "+r"(value) : "r"(DEVICES + device * 0x1000 + 0x70) : "memory");
    __asm__ volatile("rep stosl" : "+D"(to), "+c"(count) : "a"(0xdeadbeef) : "memory");
  }
  finish();
}

void ap_main(void) {}
