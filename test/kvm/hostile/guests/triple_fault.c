// SPDX-License-Identifier: Apache-2.0
// A fault without a handler for it or for what follows.
#include "../guest.h"

void guest_main(void) {
  static const struct {
    uint16_t limit;
    uint32_t base;
  } __attribute__((packed)) none = {0, 0};
  begin();
  __asm__ volatile("lidt %0; int3" : : "m"(none));
}

void ap_main(void) {}
