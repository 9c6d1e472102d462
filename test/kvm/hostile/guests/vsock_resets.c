// SPDX-License-Identifier: Apache-2.0
// Resets the vsock device again and again while bytes go both ways.
#include "../vsock.h"

void guest_main(void) {
  begin();
  for (uint32_t i = 0; i < 40; ++i) {
    vsock_work(1000 + i % 16);
    if (i % 3 == 0) notify(VSOCK, 1);
    *at32(VSOCK + 0x70) = 0;
    if (i % 5 == 0) notify(VSOCK, 0);
  }
  finish();
}

void ap_main(void) {}
