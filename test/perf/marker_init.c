/* SPDX-License-Identifier: Apache-2.0 */
/* PID 1 of a counted boot. Its first action is to ask for a CPUID leaf that nobody knows: one exit, the same under
 * every monitor and kernel, and seen by the host's kvm_cpuid trace event. Then it waits for ever. */
#include <cpuid.h>
#include <unistd.h>

int main(void) {
  unsigned a, b, c, d;
  __cpuid(0x4fff00e9, a, b, c, d); /* events.py: MARKER_LEAF */
  for (;;) pause();
}
