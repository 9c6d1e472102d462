// SPDX-License-Identifier: Apache-2.0
// Talks on when what it says fits nowhere any more: the pipe holds 4 KiB.
#include "../guest.h"

static char text[4096];

void guest_main(void) {
  begin();
  for (uint32_t i = 0; i < sizeof text; ++i) text[i] = i % 64 == 63 ? '\n' : 'x';
  for (uint32_t i = 0; i < 3; ++i) out_string(SERIAL, text, sizeof text);
  finish();
}

void ap_main(void) {}
