// SPDX-License-Identifier: Apache-2.0
// Goes on where there is no memory.
#include "../guest.h"

void guest_main(void) {
  begin();
  ((void (*)(void))0xc8000000u)();
}

void ap_main(void) {}
