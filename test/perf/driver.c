/* SPDX-License-Identifier: Apache-2.0 */
/* One sandbox by the public C ABI, for measurements and boot series: creates it, runs a command, says what was seen on
 * stdout as "name value" lines, and destroys it.
 *   driver STATE_DIR [--backend NAME] [--image NAME] [--cpu N] [--memory MIB] [--execs N] [--hold] [--verbose]
 * --hold: waits for end of file on stdin before it destroys, so that the guest can be looked at.
 * --verbose: what it does, and what the engine logs, on stderr with seconds since the host's boot.
 * Marks for a system call trace are writes of "@name\n" to descriptor -1, which fail and cost one call each. */
#include <sandforge/sandforge.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fail.h"

static int verbose;

static void say(void* user_data, sandforge_log_level level, const char* message) {
  (void)user_data, (void)level;
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  fprintf(stderr, "[%6lld.%03ld] %s\n", (long long)now.tv_sec, now.tv_nsec / 1000000, message);
}

static void mark(const char* name) {
  if (verbose) say(NULL, 0, name);
  char text[64];
  const int length = snprintf(text, sizeof text, "@%s\n", name);
  if (write(-1, text, (size_t)length) >= 0) abort();
}

struct options {
  const char* state_dir;
  sandforge_sandbox_spec spec;
  long execs;
  int hold;
};

static int parse(int argc, char** argv, struct options* options) {
  if (argc < 2) return -1;
  options->state_dir = argv[1];
  for (int i = 2; i < argc; ++i) {
    if (strcmp(argv[i], "--hold") == 0) {
      options->hold = 1;
      continue;
    }
    if (strcmp(argv[i], "--verbose") == 0) {
      verbose = 1;
      continue;
    }
    if (i + 1 == argc) return -1;
    const char* value = argv[i + 1];
    if (strcmp(argv[i], "--backend") == 0)
      options->spec.backend = value;
    else if (strcmp(argv[i], "--image") == 0)
      options->spec.image = value;
    else if (strcmp(argv[i], "--cpu") == 0)
      options->spec.cpu = atol(value);
    else if (strcmp(argv[i], "--memory") == 0)
      options->spec.memory_mb = atol(value);
    else if (strcmp(argv[i], "--execs") == 0)
      options->execs = atol(value);
    else
      return -1;
    ++i;
  }
  return 0;
}

static int run_command(sandforge_sandbox* sandbox) {
  const char* const argv[] = {"/bin/echo", "hello"};
  sandforge_exec_spec spec = SANDFORGE_EXEC_SPEC_INIT;
  spec.argv = argv;
  spec.argc = 2;
  sandforge_exec_result* result = NULL;
  sandforge_error* error = NULL;
  mark("exec");
  const sandforge_code code = sandforge_sandbox_exec(sandbox, &spec, &result, &error);
  mark("end");
  if (code != SANDFORGE_OK) return fail("exec", error);
  const int good = result->exit_code == 0 && result->stdout_len == 6 && memcmp(result->stdout_data, "hello\n", 6) == 0;
  if (!good) {
    fprintf(stderr, "exec: exit %d, %zu bytes of stdout, %s\n", (int)result->exit_code, result->stdout_len,
            result->reason);
  }
  sandforge_exec_result_free(result);
  return good ? 0 : 1;
}

static int use(sandforge_engine* engine, const struct options* options) {
  sandforge_error* error = NULL;
  sandforge_sandbox* sandbox = NULL;
  mark("create");
  const sandforge_code code = sandforge_sandbox_create(engine, &options->spec, &sandbox, &error);
  mark("end");
  if (code != SANDFORGE_OK) return fail("create", error);
  int status = 0;
  sandforge_sandbox_info* info = NULL;
  if (sandforge_sandbox_get_info(sandbox, &info, &error) == SANDFORGE_OK) {
    printf("hello_ns %llu\nready_ns %llu\n", (unsigned long long)info->guest_hello_ns,
           (unsigned long long)info->ready_after_ns);
    sandforge_sandbox_info_free(info);
  } else {
    status = fail("info", error);
  }
  for (long i = 0; i < options->execs && status == 0; ++i) status = run_command(sandbox);
  printf("done %d\n", status);
  fflush(stdout);
  while (options->hold && getchar() != EOF) {
  }
  mark("destroy");
  if (sandforge_sandbox_destroy(sandbox, &error) != SANDFORGE_OK) status = fail("destroy", error);
  mark("end");
  sandforge_sandbox_free(sandbox);
  return status;
}

int main(int argc, char** argv) {
  struct options options = {.spec = SANDFORGE_SANDBOX_SPEC_INIT, .execs = 1};
  if (parse(argc, argv, &options) != 0) {
    fprintf(stderr,
            "usage: driver STATE_DIR [--backend NAME] [--image NAME] [--cpu N] [--memory MIB] [--execs N] "
            "[--hold] [--verbose]\n");
    return 64;
  }
  sandforge_engine_options engine_options = SANDFORGE_ENGINE_OPTIONS_INIT;
  engine_options.state_dir = options.state_dir;
  if (verbose) {
    engine_options.log = say;
    engine_options.log_level = SANDFORGE_LOG_DEBUG;
  }
  sandforge_engine* engine = NULL;
  sandforge_error* error = NULL;
  if (sandforge_engine_create(&engine_options, &engine, &error) != SANDFORGE_OK) return fail("engine", error);
  const int status = use(engine, &options);
  sandforge_engine_free(engine);
  return status;
}
