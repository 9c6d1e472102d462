/* SPDX-License-Identifier: Apache-2.0 */
/* PID 1 of a counted boot. Its first action is to ask for a CPUID leaf that nobody knows: one exit, the same under
 * every monitor and kernel, and seen by the host's kvm_cpuid trace event. Then it waits for ever. Without a C library:
 * the kernel unpacks the initrd at boot, and this program is to add nothing to that. */
#include <cpuid.h>
#include <sys/syscall.h>

void _start(void) {
  unsigned a, b, c, d;
  __cpuid(0x4fff00e9, a, b, c, d); /* events.py: MARKER_LEAF */
  for (;;) {
    long call = SYS_pause;
    __asm__ volatile("syscall" : "+a"(call) : : "rcx", "r11", "memory");
  }
}
