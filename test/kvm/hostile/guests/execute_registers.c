// SPDX-License-Identifier: Apache-2.0
// Goes on in the registers of a device.
#include "../guest.h"

void guest_main(void) {
  begin();
  ((void (*)(void))DISK)();
}

void ap_main(void) {}
