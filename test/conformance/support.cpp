// SPDX-License-Identifier: Apache-2.0
#include "support.hpp"

#include <random>

namespace conformance {

sandforge_sandbox_spec small_spec(const char* id) {
  sandforge_sandbox_spec spec = SANDFORGE_SANDBOX_SPEC_INIT;
  spec.id = id;
  spec.backend = backend_name().c_str();
  spec.cpu = 1;
  spec.memory_mb = 256;
  spec.disk_gb = 1;
  spec.timeout_sec = 600;
  return spec;
}

Guest::Guest(const sandforge_sandbox_spec& spec) {
  Failure failure;
  sandforge_sandbox* created = nullptr;
  const sandforge_code code = sandforge_sandbox_create(engine(), &spec, &created, failure.slot());
  INFO(failure.message());
  REQUIRE(code == SANDFORGE_OK);
  sandbox_.reset(created);
}

Guest::~Guest() {
  if (sandbox_) (void)sandforge_sandbox_destroy(sandbox_.get(), nullptr);
}

sandforge_exec_spec exec_spec(const Exec& exec, std::vector<const char*>& argv, std::vector<const char*>& env) {
  for (const std::string& argument : exec.argv) argv.push_back(argument.c_str());
  for (const std::string& entry : exec.env) env.push_back(entry.c_str());
  sandforge_exec_spec spec = SANDFORGE_EXEC_SPEC_INIT;
  spec.argv = argv.data();
  spec.argc = argv.size();
  spec.env = env.data();
  spec.envc = env.size();
  spec.cwd = exec.cwd.c_str();
  spec.stdin_data = exec.stdin_data.data();
  spec.stdin_len = exec.stdin_data.size();
  spec.timeout_ms = exec.timeout_ms;
  spec.output_cap = exec.output_cap;
  spec.stream_stdin = exec.stream_stdin ? 1 : 0;
  return spec;
}

Result run(sandforge_sandbox* sandbox, const Exec& exec) {
  std::vector<const char*> argv, env;
  const sandforge_exec_spec spec = exec_spec(exec, argv, env);
  Failure failure;
  sandforge_exec_result* result = nullptr;
  const sandforge_code code = sandforge_sandbox_exec(sandbox, &spec, &result, failure.slot());
  INFO(failure.message());
  REQUIRE(code == SANDFORGE_OK);
  return Result(result);
}

Process start(sandforge_sandbox* sandbox, const Exec& exec, sandforge_notify_fn notify, void* user_data) {
  std::vector<const char*> argv, env;
  const sandforge_exec_spec spec = exec_spec(exec, argv, env);
  Failure failure;
  sandforge_process* process = nullptr;
  const sandforge_code code = sandforge_sandbox_start(sandbox, &spec, notify, user_data, &process, failure.slot());
  INFO(failure.message());
  REQUIRE(code == SANDFORGE_OK);
  return Process(process);
}

std::string out_of(const Result& result) {
  return {reinterpret_cast<const char*>(result->stdout_data), result->stdout_len};
}
std::string err_of(const Result& result) {
  return {reinterpret_cast<const char*>(result->stderr_data), result->stderr_len};
}

std::string read_all(sandforge_process* process, std::uint32_t stream) {
  std::string all;
  std::vector<char> buffer(64 * 1024);
  for (;;) {
    std::size_t count = 0;
    Failure failure;
    const sandforge_code code =
        sandforge_process_read(process, stream, buffer.data(), buffer.size(), 30'000, &count, failure.slot());
    INFO(failure.message());
    REQUIRE(code == SANDFORGE_OK);
    if (count == 0) return all;
    all.append(buffer.data(), count);
  }
}

Result wait_for(sandforge_process* process, std::int64_t timeout_ms) {
  Failure failure;
  sandforge_exec_result* result = nullptr;
  const sandforge_code code = sandforge_process_wait(process, timeout_ms, &result, failure.slot());
  INFO(failure.message());
  REQUIRE(code == SANDFORGE_OK);
  return Result(result);
}

Info info_of(sandforge_sandbox* sandbox) {
  Failure failure;
  sandforge_sandbox_info* info = nullptr;
  const sandforge_code code = sandforge_sandbox_get_info(sandbox, &info, failure.slot());
  INFO(failure.message());
  REQUIRE(code == SANDFORGE_OK);
  return Info(info);
}

Sandbox open_sandbox(const std::string& id) {
  Failure failure;
  sandforge_sandbox* sandbox = nullptr;
  const sandforge_code code = sandforge_sandbox_open(engine(), id.c_str(), &sandbox, failure.slot());
  INFO(failure.message());
  REQUIRE(code == SANDFORGE_OK);
  return Sandbox(sandbox);
}

std::string bytes_of(std::size_t count) {
  std::mt19937 generator(42);  // NOLINT: the same bytes on every run are the point
  std::string bytes(count, '\0');
  for (char& byte : bytes) byte = static_cast<char>(generator() & 0xff);
  return bytes;
}

void write_file(sandforge_sandbox* sandbox, const std::string& path, std::string_view bytes, std::uint32_t mode) {
  Failure failure;
  const sandforge_code code =
      sandforge_sandbox_write_file(sandbox, path.c_str(), bytes.data(), bytes.size(), mode, failure.slot());
  INFO(failure.message());
  REQUIRE(code == SANDFORGE_OK);
}

std::string read_file(sandforge_sandbox* sandbox, const std::string& path) {
  Failure failure;
  sandforge_buffer* raw = nullptr;
  const sandforge_code code = sandforge_sandbox_read_file(sandbox, path.c_str(), 64u << 20, &raw, failure.slot());
  INFO(failure.message());
  REQUIRE(code == SANDFORGE_OK);
  const Buffer buffer(raw);
  return {reinterpret_cast<const char*>(buffer->data), buffer->length};
}

}  // namespace conformance
