/* SPDX-License-Identifier: Apache-2.0 */
/* The whole life of a sandbox in C. Usage: quickstart-c [BACKEND] */
#include <sandforge/sandforge.h>
#include <stdio.h>

static int fail(sandforge_error* error) {
  fprintf(stderr, "%s\n%s\n", sandforge_error_message(error), sandforge_error_remedy(error));
  sandforge_error_free(error);
  return 1;
}

static int run(sandforge_sandbox* sandbox) {
  const char* const argv[] = {"echo", "Hello, Sandforge!"};
  sandforge_exec_spec spec = SANDFORGE_EXEC_SPEC_INIT;
  sandforge_exec_result* result = NULL;
  sandforge_error* error = NULL;
  spec.argv = argv;
  spec.argc = 2;
  if (sandforge_sandbox_exec(sandbox, &spec, &result, &error) != SANDFORGE_OK) return fail(error);
  fwrite(result->stdout_data, 1, result->stdout_len, stdout);
  const int status = result->exit_code;
  sandforge_exec_result_free(result);
  return status;
}

int main(int argc, char** argv) {
  sandforge_engine* engine = NULL;
  sandforge_sandbox* sandbox = NULL;
  sandforge_error* error = NULL;
  if (sandforge_engine_create(NULL, &engine, &error) != SANDFORGE_OK) return fail(error);

  sandforge_sandbox_spec spec = SANDFORGE_SANDBOX_SPEC_INIT;
  if (argc > 1) spec.backend = argv[1];
  int status = 1;
  if (sandforge_sandbox_create(engine, &spec, &sandbox, &error) != SANDFORGE_OK) {
    fail(error);
  } else {
    printf("%s is ready\n", sandforge_sandbox_id(sandbox));
    status = run(sandbox);
  }
  sandforge_sandbox_free(sandbox); /* the handle; the guest ends with its engine */
  sandforge_engine_free(engine);
  return status;
}
