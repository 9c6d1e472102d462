// SPDX-License-Identifier: Apache-2.0
// The power ports in every wrong way, then the reset port in the right one.
#include "../guest.h"

void guest_main(void) {
  begin();
  for (uint32_t value = 0; value < 256; ++value) {
    if ((value & 0x3c) != 0x34) out8(POWER, (uint8_t)value);  // not "enter S5"
    out8(POWER + 1, (uint8_t)value);
    if (value != 1) out8(POWER + 2, (uint8_t)value);
  }
  out16(POWER - 1, 0x3434);
  out32(POWER - 3, 0x34343434);
  out16(POWER + 2, 0x0101);
  out32(POWER + 2, 0x01010101);
  (void)in32(POWER);
  out8(POWER + 2, 1);
  finish();
}

void ap_main(void) {}
