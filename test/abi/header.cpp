// SPDX-License-Identifier: Apache-2.0
// The same text as C++20: see header.c.
#include "header.c"
