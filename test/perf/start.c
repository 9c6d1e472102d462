/* SPDX-License-Identifier: Apache-2.0 */
/* Starts a program and says when: a mark in the kernel's trace just before the spawn, the process id on stdout.
 *   start TRACE_MARKER_FILE [TARGET=FD ...] -- PROGRAM [ARGUMENT ...]
 * Each TARGET=FD gives the program a descriptor of ours under a number; everything else but 0 to 2 is closed. */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { kParked = 100, kDescriptorsMax = 64 };

int main(int argc, char** argv) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  int targets[kDescriptorsMax], count = 0, at = 2;
  for (; at < argc && strcmp(argv[at], "--") != 0; ++at) {
    int target = 0, fd = 0;
    if (sscanf(argv[at], "%d=%d", &target, &fd) != 2 || count == kDescriptorsMax) return 64;
    if (dup2(fd, kParked + target) < 0) return 65;
    targets[count++] = target;
  }
  if (argc < 4 || at + 1 >= argc) return 64;
  for (int fd = 3; fd < kParked; ++fd) posix_spawn_file_actions_addclose(&actions, fd);
  for (int i = 0; i < count; ++i) posix_spawn_file_actions_adddup2(&actions, kParked + targets[i], targets[i]);
  posix_spawn_file_actions_addclosefrom_np(&actions, kParked);
  const int marker = open(argv[1], O_WRONLY | O_CLOEXEC);
  char* const environment[] = {NULL};
  pid_t child = 0;
  if (marker < 0 || write(marker, "spawn", 5) != 5) return 66;
  if (posix_spawn(&child, argv[at + 1], &actions, NULL, argv + at + 1, environment) != 0) return 67;
  printf("%d\n", (int)child);
  return 0;
}
