// SPDX-License-Identifier: Apache-2.0
// The second vCPU ends by a triple fault while the first one computes.
#include "../guest.h"

void guest_main(void) {
  begin();
  start_other();
  for (;;) __asm__ volatile("pause");
}

void ap_main(void) {
  static const struct {
    uint16_t limit;
    uint32_t base;
  } __attribute__((packed)) none = {0, 0};
  __asm__ volatile("lidt %0; int3" : : "m"(none));
}
