// SPDX-License-Identifier: Apache-2.0
// Says one line, sets nothing up, computes for ever.
#include "../guest.h"

void guest_main(void) {
  begin();
  for (;;) {
  }
}

void ap_main(void) {}
