/* SPDX-License-Identifier: Apache-2.0 */
/* A sandbox under the stop-watch, by the public C ABI. Does one thing for each line on stdin, and answers with
 * "cpu NS" on stdout, what this process used of the CPU for it:
 *   exec N       runs /bin/true N times
 *   stream MIB   reads so much stdout of one command
 * End of file destroys the sandbox.   stream_driver STATE_DIR BACKEND MEMORY_MIB */
#include <sandforge/sandforge.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "fail.h"

static long long cpu_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return now.tv_sec * 1000000000ll + now.tv_nsec;
}

static int run_true(sandforge_sandbox* sandbox, long times) {
  const char* const argv[] = {"/bin/true"};
  sandforge_exec_spec spec = SANDFORGE_EXEC_SPEC_INIT;
  spec.argv = argv;
  spec.argc = 1;
  for (long i = 0; i < times; ++i) {
    sandforge_exec_result* result = NULL;
    sandforge_error* error = NULL;
    if (sandforge_sandbox_exec(sandbox, &spec, &result, &error) != SANDFORGE_OK) return fail("exec", error);
    const int code = result->exit_code;
    sandforge_exec_result_free(result);
    if (code != 0) return 1;
  }
  return 0;
}

static int stream(sandforge_sandbox* sandbox, long mib) {
  char bytes[32];
  snprintf(bytes, sizeof bytes, "%ldM", mib);
  const char* const argv[] = {"/usr/bin/head", "-c", bytes, "/dev/zero"};
  sandforge_exec_spec spec = SANDFORGE_EXEC_SPEC_INIT;
  spec.argv = argv;
  spec.argc = 4;
  sandforge_process* process = NULL;
  sandforge_error* error = NULL;
  if (sandforge_sandbox_start(sandbox, &spec, NULL, NULL, &process, &error) != SANDFORGE_OK)
    return fail("start", error);
  static char buffer[256 * 1024];
  unsigned long long total = 0;
  size_t count = 1;
  while (count > 0) {
    if (sandforge_process_read(process, SANDFORGE_STDOUT, buffer, sizeof buffer, -1, &count, &error) != SANDFORGE_OK)
      return fail("read", error);
    total += count;
  }
  sandforge_exec_result* result = NULL;
  if (sandforge_process_wait(process, -1, &result, &error) != SANDFORGE_OK) return fail("wait", error);
  const int good = total == (unsigned long long)mib << 20;
  if (!good) fprintf(stderr, "stream: %llu bytes came, then it ended: %s\n", total, result->reason);
  sandforge_exec_result_free(result);
  sandforge_process_free(process);
  return good ? 0 : 1;
}

int main(int argc, char** argv) {
  if (argc != 4) return 64;
  sandforge_engine_options options = SANDFORGE_ENGINE_OPTIONS_INIT;
  options.state_dir = argv[1];
  sandforge_sandbox_spec spec = SANDFORGE_SANDBOX_SPEC_INIT;
  spec.backend = argv[2];
  spec.cpu = 1;
  spec.memory_mb = atol(argv[3]);
  sandforge_engine* engine = NULL;
  sandforge_sandbox* sandbox = NULL;
  sandforge_error* error = NULL;
  if (sandforge_engine_create(&options, &engine, &error) != SANDFORGE_OK) return fail("engine", error);
  if (sandforge_sandbox_create(engine, &spec, &sandbox, &error) != SANDFORGE_OK) return fail("create", error);
  printf("ready\n");
  fflush(stdout);
  char line[64];
  int status = 0;
  while (status == 0 && fgets(line, sizeof line, stdin) != NULL) {
    long amount = 0;
    const long long before = cpu_ns();
    if (sscanf(line, "exec %ld", &amount) == 1)
      status = run_true(sandbox, amount);
    else if (sscanf(line, "stream %ld", &amount) == 1)
      status = stream(sandbox, amount);
    printf("cpu %lld\n", cpu_ns() - before);
    fflush(stdout);
  }
  if (sandforge_sandbox_destroy(sandbox, &error) != SANDFORGE_OK) status = fail("destroy", error);
  sandforge_sandbox_free(sandbox);
  sandforge_engine_free(engine);
  return status;
}
