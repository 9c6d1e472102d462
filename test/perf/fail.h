/* SPDX-License-Identifier: Apache-2.0 */
/* How the drivers end on an error of the library: one line on stderr, status 1. */
#pragma once

#include <sandforge/sandforge.h>

#include <stdio.h>

static int fail(const char* what, sandforge_error* error) {
  fprintf(stderr, "%s: %s (%s)%s%s\n", what, sandforge_error_message(error), sandforge_error_reason(error),
          *sandforge_error_remedy(error) != '\0' ? "; remedy: " : "", sandforge_error_remedy(error));
  sandforge_error_free(error);
  return 1;
}
