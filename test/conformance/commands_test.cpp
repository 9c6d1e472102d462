// SPDX-License-Identifier: Apache-2.0
// Commands: verdicts, streams, limits.
#include <chrono>
#include <thread>

#include "support.hpp"

using namespace conformance;

TEST_CASE("echo hello answers hello, exit code 0 and nothing on stderr") {
  const Result result = run(shared_guest(), {.argv = {"echo", "hello"}});
  CHECK(out_of(result) == "hello\n");
  CHECK(err_of(result).empty());
  CHECK(result->exit_code == 0);
  CHECK(result->ended_by == SANDFORGE_ENDED_BY_EXIT);
  CHECK(result->signal == 0);
  CHECK(result->truncated == 0);
  CHECK(result->stdout_total == 6);
  CHECK(result->wall_ns > 0);
}

TEST_CASE("exit codes come back as they are") {
  CHECK(run(shared_guest(), {.argv = {"true"}})->exit_code == 0);
  CHECK(run(shared_guest(), {.argv = {"false"}})->exit_code == 1);
  const Result result = run(shared_guest(), {.argv = {"sh", "-c", "exit 42"}});
  CHECK(result->exit_code == 42);
  CHECK(result->ended_by == SANDFORGE_ENDED_BY_EXIT);
}

TEST_CASE("a command that a signal ends has the verdict signal and exit code 128 + n") {
  const Result result = run(shared_guest(), {.argv = {"sh", "-c", "kill -9 $$"}});
  CHECK(result->exit_code == 137);
  CHECK(result->ended_by == SANDFORGE_ENDED_BY_SIGNAL);
  CHECK(result->signal == 9);
}

TEST_CASE("stdout and stderr are kept apart") {
  const Result result = run(shared_guest(), {.argv = {"sh", "-c", "echo out; echo err >&2"}});
  CHECK(out_of(result) == "out\n");
  CHECK(err_of(result) == "err\n");
}

TEST_CASE("environment and working directory are what was asked for") {
  const Result env = run(shared_guest(), {.argv = {"sh", "-c", "echo $GREETING"}, .env = {"GREETING=good day"}});
  CHECK(out_of(env) == "good day\n");
  CHECK(out_of(run(shared_guest(), {.argv = {"pwd"}, .cwd = "/tmp"})) == "/tmp\n");
  CHECK(out_of(run(shared_guest(), {.argv = {"pwd"}})) == "/\n");
}

TEST_CASE("PATH, HOME and LANG are there without being asked for") {
  const std::string env = out_of(run(shared_guest(), {.argv = {"env"}}));
  CHECK(env.find("PATH=/") != std::string::npos);
  CHECK(env.find("HOME=/") != std::string::npos);
  CHECK(env.find("LANG=") != std::string::npos);
}

TEST_CASE("one MiB through cat comes back byte for byte") {
  const std::string bytes = bytes_of(1u << 20);
  const Result result = run(shared_guest(), {.argv = {"cat"}, .stdin_data = bytes});
  CHECK(result->exit_code == 0);
  CHECK((out_of(result) == bytes));
}

TEST_CASE("eight MiB of output arrive whole") {
  const Result result = run(shared_guest(), {.argv = {"head", "-c", "8388608", "/dev/zero"}});
  CHECK(result->exit_code == 0);
  CHECK(result->stdout_len == 8388608);
  CHECK(result->stdout_total == 8388608);
  CHECK((out_of(result) == std::string(8388608, '\0')));
}

TEST_CASE("output beyond the cap is drained, counted and said to be cut") {
  const Result result = run(shared_guest(), {.argv = {"head", "-c", "1000000", "/dev/zero"}, .output_cap = 1000});
  CHECK(result->exit_code == 0);
  CHECK(result->stdout_len == 1000);
  CHECK(result->stdout_total == 1'000'000);
  CHECK(result->truncated == 1);
}

TEST_CASE("a command that takes too long is ended with verdict timeout, and the sandbox stays usable") {
  const Result result = run(shared_guest(), {.argv = {"sleep", "30"}, .timeout_ms = 300});
  CHECK(result->exit_code == 124);
  CHECK(result->ended_by == SANDFORGE_ENDED_BY_TIMEOUT);
  CHECK(result->reason[0] != '\0');
  CHECK(out_of(run(shared_guest(), {.argv = {"echo", "still here"}})) == "still here\n");
}

TEST_CASE("output written before a time-out is kept") {
  const Result result = run(shared_guest(), {.argv = {"sh", "-c", "echo early; sleep 30"}, .timeout_ms = 1000});
  CHECK(result->ended_by == SANDFORGE_ENDED_BY_TIMEOUT);
  CHECK(out_of(result) == "early\n");
}

TEST_CASE("a killed command has the verdict killed") {
  const Process process = start(shared_guest(), {.argv = {"sleep", "30"}});
  CHECK(sandforge_process_kill(process.get(), nullptr) == SANDFORGE_OK);
  const Result result = wait_for(process.get());
  CHECK(result->ended_by == SANDFORGE_ENDED_BY_KILLED);
  CHECK(result->exit_code == 137);
}

TEST_CASE("a command that does not exist is a result with exit code 127 and the reason on stderr") {
  const Result result = run(shared_guest(), {.argv = {"no-such-program"}});
  CHECK(result->exit_code == 127);
  CHECK(result->ended_by == SANDFORGE_ENDED_BY_EXIT);
  CHECK(err_of(result).find("no-such-program") != std::string::npos);
}

TEST_CASE("a working directory that does not exist is a result with exit code 126 or 127 and a reason") {
  const Result result = run(shared_guest(), {.argv = {"pwd"}, .cwd = "/no/such/directory"});
  const bool not_started = result->exit_code == 126 || result->exit_code == 127;
  CHECK(not_started);
  CHECK(err_of(result).find("/no/such/directory") != std::string::npos);
}

TEST_CASE("twenty commands at once all end with their own output") {
  std::vector<std::string> outputs(20);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    threads.emplace_back([&outputs, i] {
      // No assertion on these threads: an exception of theirs would end the program.
      const std::string word = "number " + std::to_string(i);
      const char* argv[] = {"echo", word.c_str()};
      sandforge_exec_spec spec = SANDFORGE_EXEC_SPEC_INIT;
      spec.argv = argv;
      spec.argc = 2;
      sandforge_exec_result* result = nullptr;
      if (sandforge_sandbox_exec(shared_guest(), &spec, &result, nullptr) != SANDFORGE_OK) return;
      outputs[i].assign(reinterpret_cast<const char*>(result->stdout_data), result->stdout_len);
      sandforge_exec_result_free(result);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < outputs.size(); ++i) CHECK(outputs[i] == "number " + std::to_string(i) + "\n");
}

TEST_CASE("a reader that does not read stops its own command and nobody else's") {
  const Process slow = start(shared_guest(), {.argv = {"head", "-c", "2000000", "/dev/zero"}});
  // Far more than the slow one's window, through the same connection.
  CHECK(run(shared_guest(), {.argv = {"head", "-c", "4000000", "/dev/zero"}})->stdout_len == 4'000'000);
  sandforge_exec_result* early = nullptr;
  CHECK(sandforge_process_wait(slow.get(), 0, &early, nullptr) == SANDFORGE_TIMED_OUT);
  CHECK(early == nullptr);
  CHECK(read_all(slow.get(), SANDFORGE_STDOUT).size() == 2'000'000);
  CHECK(wait_for(slow.get())->exit_code == 0);
}

TEST_CASE("a streamed command echoes what is written to its stdin, then ends at end of file") {
  const Process process = start(shared_guest(), {.argv = {"cat"}, .stream_stdin = true});
  std::size_t count = 0;
  CHECK(sandforge_process_write(process.get(), "ping\n", 5, 10'000, &count, nullptr) == SANDFORGE_OK);
  CHECK(count == 5);
  char buffer[16] = {};
  CHECK(sandforge_process_read(process.get(), SANDFORGE_STDOUT, buffer, sizeof buffer, 30'000, &count, nullptr) ==
        SANDFORGE_OK);
  CHECK(std::string(buffer, count) == "ping\n");
  CHECK(sandforge_process_read(process.get(), SANDFORGE_STDOUT, buffer, sizeof buffer, 0, &count, nullptr) ==
        SANDFORGE_TIMED_OUT);
  CHECK(sandforge_process_close_stdin(process.get(), nullptr) == SANDFORGE_OK);
  CHECK(read_all(process.get(), SANDFORGE_STDOUT).empty());
  CHECK(wait_for(process.get())->exit_code == 0);
}

TEST_CASE("a command without stream_stdin has an empty stdin and refuses to be written to") {
  const Process process = start(shared_guest(), {.argv = {"cat"}});
  std::size_t count = 0;
  Failure failure;
  CHECK(sandforge_process_write(process.get(), "x", 1, 0, &count, failure.slot()) == SANDFORGE_CONFLICT);
  CHECK(failure.reason() == "no_stdin");
  CHECK(wait_for(process.get())->exit_code == 0);
}

TEST_CASE("a signal reaches the command") {
  const Process process = start(shared_guest(), {.argv = {"sh", "-c", "echo up; sleep 30"}});
  char buffer[16];
  std::size_t count = 0;
  CHECK(sandforge_process_read(process.get(), SANDFORGE_STDOUT, buffer, sizeof buffer, 30'000, &count, nullptr) ==
        SANDFORGE_OK);
  CHECK(sandforge_process_signal(process.get(), 15, nullptr) == SANDFORGE_OK);
  const Result result = wait_for(process.get());
  CHECK(result->ended_by == SANDFORGE_ENDED_BY_SIGNAL);
  CHECK(result->signal == 15);
  CHECK(result->exit_code == 143);
  CHECK(sandforge_process_signal(process.get(), 0, nullptr) == SANDFORGE_INVALID_ARGUMENT);
}

TEST_CASE("output that was not read before the end stays readable after it") {
  const Process process = start(shared_guest(), {.argv = {"echo", "late"}});
  const Result result = wait_for(process.get());
  CHECK(result->exit_code == 0);
  CHECK(result->stdout_len == 0);
  CHECK(result->stdout_total == 5);
  CHECK(read_all(process.get(), SANDFORGE_STDOUT) == "late\n");
  CHECK(read_all(process.get(), SANDFORGE_STDERR).empty());
}

TEST_CASE("commands that cannot be meant are refused before the guest sees them") {
  struct Row {
    const char* what;
    Exec exec;
  };
  const Row rows[] = {
      {"no argv", {.argv = {}}},
      {"an empty program", {.argv = {""}}},
      {"an entry that is no KEY=VALUE", {.argv = {"true"}, .env = {"NOVALUE"}}},
      {"an entry without a key", {.argv = {"true"}, .env = {"=x"}}},
      {"a relative working directory", {.argv = {"true"}, .cwd = "tmp"}},
      {"a negative time-out", {.argv = {"true"}, .timeout_ms = -1}},
      {"an argument beyond the limit", {.argv = {"echo", std::string(200'000, 'x')}}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    std::vector<const char*> argv, env;
    const sandforge_exec_spec spec = exec_spec(row.exec, argv, env);
    sandforge_exec_result* result = nullptr;
    Failure failure;
    CHECK(sandforge_sandbox_exec(shared_guest(), &spec, &result, failure.slot()) == SANDFORGE_INVALID_ARGUMENT);
    CHECK(result == nullptr);
    CHECK_FALSE(failure.message().empty());
  }
}

TEST_CASE("a sandbox shows executing while a command runs and ready when it ended") {
  const Process process = start(shared_guest(), {.argv = {"sh", "-c", "echo up; sleep 30"}});
  char buffer[16];
  std::size_t count = 0;
  CHECK(sandforge_process_read(process.get(), SANDFORGE_STDOUT, buffer, sizeof buffer, 30'000, &count, nullptr) ==
        SANDFORGE_OK);
  CHECK(info_of(shared_guest())->state == SANDFORGE_STATE_EXECUTING);
  CHECK(sandforge_process_kill(process.get(), nullptr) == SANDFORGE_OK);
  wait_for(process.get());
  CHECK(info_of(shared_guest())->state == SANDFORGE_STATE_READY);
}
