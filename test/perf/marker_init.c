/* SPDX-License-Identifier: Apache-2.0 */
/* PID 1 of a counted boot. Its first action is one byte to port 0xe9, where nobody answers: one exit, the same under
 * every monitor, and seen by the host's kvm_pio trace event. Then it waits for ever. */
#include <sys/io.h>
#include <unistd.h>

int main(void) {
  if (ioperm(0xe9, 1, 1) == 0) outb(1, 0xe9);
  for (;;) pause();
}
