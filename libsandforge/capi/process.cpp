// SPDX-License-Identifier: Apache-2.0
// Commands of the C ABI: collected and streamed.
#include "capi/abi_check.hpp"
#include "capi/guard.hpp"
#include "capi/handles.hpp"

#include "base/limits.hpp"
#include "engine/exec_collect.hpp"

namespace sandforge::capi {
namespace {

struct OwnedResult : Owned<sandforge_exec_result> {
  engine::CollectedExec exec;

  explicit OwnedResult(engine::CollectedExec value) : exec(std::move(value)) {
    const wire::ExecResult& verdict = exec.result;
    exit_code = verdict.exit_code;
    ended_by = static_cast<sandforge_ended_by>(verdict.ended_by);
    signal = verdict.signal;
    truncated = exec.truncated ? 1 : 0;
    stdout_data = reinterpret_cast<const std::uint8_t*>(exec.out.data());
    stdout_len = exec.out.size();
    stderr_data = reinterpret_cast<const std::uint8_t*>(exec.err.data());
    stderr_len = exec.err.size();
    stdout_total = verdict.stdout_total;
    stderr_total = verdict.stderr_total;
    wall_ns = verdict.wall_ns;
    cpu_ns = verdict.cpu_ns;
    memory_peak = verdict.memory_peak;
    reason = verdict.reason.c_str();
  }
};

base::Status copy_strings(const char* const* values, std::size_t count, const char* name,
                          std::vector<std::string>& out) {
  const auto invalid = [&](std::string what) {
    return base::make_error(base::Code::InvalidArgument, "invalid_exec", std::string("exec: ") + name + what);
  };
  if (count > limits::kArgsMax) return invalid(" has more than " + std::to_string(limits::kArgsMax) + " entries");
  if (count > 0 && values == nullptr) return invalid(" is NULL");
  out.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    if (values[i] == nullptr) return invalid("[" + std::to_string(i) + "] is NULL");
    out.emplace_back(values[i]);
  }
  return {};
}

// OK with a value stored, timed_out without an error object, or the error.
template <typename T, typename Store>
sandforge_code answer(sandforge_error** slot, base::Result<std::optional<T>> result, Store store) {
  if (!result) return give_error(slot, std::move(result).error());
  if (!*result) return SANDFORGE_TIMED_OUT;
  store(std::move(**result));
  return SANDFORGE_OK;
}

// As guard(), for the functions whose time-out is no error.
template <typename Body>
sandforge_code guarded_code(sandforge_error** slot, Body&& body) noexcept {
  sandforge_code code = SANDFORGE_OK;
  const sandforge_code failure = guard(slot, [&]() -> base::Status {
    code = body();
    return {};
  });
  return failure != SANDFORGE_OK ? failure : code;
}

}  // namespace

base::Result<engine::ExecSpec> exec_spec_of(const sandforge_exec_spec& spec) {
  engine::ExecSpec result;
  SANDFORGE_TRY_STATUS(copy_strings(spec.argv, spec.argc, "argv", result.argv));
  SANDFORGE_TRY_STATUS(copy_strings(spec.env, spec.envc, "env", result.env));
  result.cwd = text_of(spec.cwd);
  result.user = text_of(spec.user);
  result.timeout_ms = spec.timeout_ms;
  result.output_cap = spec.output_cap;
  result.stream_stdin = spec.stream_stdin != 0;
  result.memory_max = spec.memory_max;
  result.pids_max = spec.pids_max;
  return engine::resolve_exec(std::move(result));
}

}  // namespace sandforge::capi

using namespace sandforge::capi;
namespace base = sandforge::base;
namespace engine = sandforge::engine;

extern "C" {

sandforge_code sandforge_sandbox_exec(sandforge_sandbox* sandbox, const sandforge_exec_spec* spec,
                                      sandforge_exec_result** result, sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(sandbox);
    SANDFORGE_NEEDS(spec);
    SANDFORGE_NEEDS(result);
    SANDFORGE_TRY(const sandforge_exec_spec given, read_struct(spec, "sandforge_exec_spec"));
    SANDFORGE_TRY(engine::ExecSpec resolved, exec_spec_of(given));
    if (given.stdin_len > 0) {
      if (given.stdin_data == nullptr) {
        return base::make_error(base::Code::InvalidArgument, "invalid_exec", "exec: stdin_data is NULL");
      }
      resolved.stdin_data.assign(static_cast<const char*>(given.stdin_data), given.stdin_len);
    }
    SANDFORGE_TRY(engine::CollectedExec collected, engine::exec(sandbox->sandbox, std::move(resolved)));
    *result = std::make_unique<OwnedResult>(std::move(collected)).release();
    return {};
  });
}
void sandforge_exec_result_free(sandforge_exec_result* result) { delete static_cast<OwnedResult*>(result); }

sandforge_code sandforge_sandbox_start(sandforge_sandbox* sandbox, const sandforge_exec_spec* spec,
                                       sandforge_notify_fn notify, void* user_data, sandforge_process** process,
                                       sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(sandbox);
    SANDFORGE_NEEDS(spec);
    SANDFORGE_NEEDS(process);
    SANDFORGE_TRY(const sandforge_exec_spec given, read_struct(spec, "sandforge_exec_spec"));
    SANDFORGE_TRY(engine::ExecSpec resolved, exec_spec_of(given));
    auto handle = std::make_unique<sandforge_process>();
    handle->process = std::make_shared<engine::Process>(sandbox->sandbox, std::move(resolved), notify, user_data);
    SANDFORGE_TRY_STATUS(handle->process->begin());
    *process = handle.release();
    return {};
  });
}

sandforge_code sandforge_process_read(sandforge_process* process, uint32_t stream, void* buffer, size_t capacity,
                                      int64_t timeout_ms, size_t* count, sandforge_error** error) {
  return guarded_code(error, [&]() -> sandforge_code {
    if (process == nullptr) return give_error(error, null_argument("process"));
    if (buffer == nullptr) return give_error(error, null_argument("buffer"));
    if (count == nullptr) return give_error(error, null_argument("count"));
    return answer<std::size_t>(error, process->process->read(stream, buffer, capacity, timeout_ms),
                               [&](std::size_t value) { *count = value; });
  });
}

sandforge_code sandforge_process_write(sandforge_process* process, const void* data, size_t length, int64_t timeout_ms,
                                       size_t* count, sandforge_error** error) {
  return guarded_code(error, [&]() -> sandforge_code {
    if (process == nullptr) return give_error(error, null_argument("process"));
    if (data == nullptr && length > 0) return give_error(error, null_argument("data"));
    if (count == nullptr) return give_error(error, null_argument("count"));
    return answer<std::size_t>(error, process->process->write({static_cast<const char*>(data), length}, timeout_ms),
                               [&](std::size_t value) { *count = value; });
  });
}

sandforge_code sandforge_process_close_stdin(sandforge_process* process, sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(process);
    return process->process->close_stdin();
  });
}

sandforge_code sandforge_process_signal(sandforge_process* process, int32_t signal_number, sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(process);
    return process->process->signal(signal_number);
  });
}

sandforge_code sandforge_process_kill(sandforge_process* process, sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(process);
    return process->process->kill();
  });
}

sandforge_code sandforge_process_wait(sandforge_process* process, int64_t timeout_ms, sandforge_exec_result** result,
                                      sandforge_error** error) {
  return guarded_code(error, [&]() -> sandforge_code {
    if (process == nullptr) return give_error(error, null_argument("process"));
    if (result == nullptr) return give_error(error, null_argument("result"));
    return answer<sandforge::wire::ExecResult>(
        error, process->process->wait(timeout_ms), [&](sandforge::wire::ExecResult verdict) {
          engine::CollectedExec collected;
          collected.result = std::move(verdict);
          *result = std::make_unique<OwnedResult>(std::move(collected)).release();
        });
  });
}

void sandforge_process_free(sandforge_process* process) {
  if (process == nullptr) return;
  guarded_quietly([&] { process->process->release(); });
  delete process;
}

}  // extern "C"
