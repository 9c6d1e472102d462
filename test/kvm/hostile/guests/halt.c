// SPDX-License-Identifier: Apache-2.0
// Halts for ever: nothing can interrupt it.
#include "../guest.h"

void guest_main(void) {
  begin();
  for (;;) __asm__ volatile("cli; hlt");
}

void ap_main(void) {}
