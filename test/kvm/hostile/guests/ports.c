// SPDX-License-Identifier: Apache-2.0
// Every port there is, in every width, in and out, single and as strings.
#include "../guest.h"

static uint8_t buffer[4096];

static int ends_the_guest(uint32_t port) { return port >= POWER - 3 && port < POWER + 3; }

void guest_main(void) {
  begin();
  for (uint32_t port = 0; port < 0x10000; ++port) {
    if (port % 16 != 0 && (port < 0x3e0 || port > 0x410) && (port < 0x5f0 || port > 0x610)) continue;
    (void)in8((uint16_t)port);
    (void)in32((uint16_t)port);
    if (port >= SERIAL - 3 && port < SERIAL + 8) continue;  // no noise in the log, here
    if (ends_the_guest(port)) continue;
    out8((uint16_t)port, (uint8_t)port);
    out16((uint16_t)port, 0xffff);
    out32((uint16_t)port, 0xffffffff);
  }
  in_string(SERIAL, buffer, 512);
  in_string(0x600, buffer, 512);
  in_string(0xcf8, buffer, sizeof buffer);
  out_string(0x80, buffer, sizeof buffer);
  // Registers of the serial port, in widths that it does not have.
  for (uint32_t i = 0; i < 200; ++i) {
    const uint16_t port = (uint16_t)(SERIAL + 1 + next_random() % 7);
    out8(port, (uint8_t)(next_random() & 0x7f & ~0x10u));  // no divisor latch, no loop: reports must come through
    (void)in32(port);
  }
  out8(SERIAL + 3, 3);
  out8(SERIAL + 4, 0);
  say("\n");
  finish();
}

void ap_main(void) {}
