/* SPDX-License-Identifier: Apache-2.0 */
/* Output as it comes, in C. Usage: streaming-c [BACKEND] */
#include <sandforge/sandforge.h>
#include <stdio.h>

static int fail(sandforge_error* error) {
  fprintf(stderr, "%s\n%s\n", sandforge_error_message(error), sandforge_error_remedy(error));
  sandforge_error_free(error);
  return 1;
}

static int stream(sandforge_process* process) {
  char buffer[4096];
  size_t count = 0;
  sandforge_exec_result* result = NULL;
  sandforge_error* error = NULL;
  for (;;) {
    if (sandforge_process_read(process, SANDFORGE_STDOUT, buffer, sizeof buffer, -1, &count, &error) != SANDFORGE_OK)
      return fail(error);
    if (count == 0) break;
    fwrite(buffer, 1, count, stdout);
    fflush(stdout);
  }
  if (sandforge_process_wait(process, -1, &result, &error) != SANDFORGE_OK) return fail(error);
  const int status = result->exit_code;
  printf("ended by %s\n", sandforge_ended_by_name(result->ended_by));
  sandforge_exec_result_free(result);
  return status;
}

int main(int argc, char** argv) {
  static const char* const command[] = {"sh", "-c", "echo one; echo two; echo three"};
  sandforge_engine* engine = NULL;
  sandforge_sandbox* sandbox = NULL;
  sandforge_process* process = NULL;
  sandforge_error* error = NULL;
  sandforge_sandbox_spec spec = SANDFORGE_SANDBOX_SPEC_INIT;
  sandforge_exec_spec exec_spec = SANDFORGE_EXEC_SPEC_INIT;
  if (argc > 1) spec.backend = argv[1];
  exec_spec.argv = command;
  exec_spec.argc = 3;
  int status = 1;
  if (sandforge_engine_create(NULL, &engine, &error) != SANDFORGE_OK ||
      sandforge_sandbox_create(engine, &spec, &sandbox, &error) != SANDFORGE_OK ||
      sandforge_sandbox_start(sandbox, &exec_spec, NULL, NULL, &process, &error) != SANDFORGE_OK) {
    fail(error);
  } else {
    status = stream(process);
  }
  sandforge_process_free(process);
  sandforge_sandbox_free(sandbox);
  sandforge_engine_free(engine);
  return status;
}
