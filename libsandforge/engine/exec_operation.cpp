// SPDX-License-Identifier: Apache-2.0
#include "engine/exec_operation.hpp"

#include <fmt/format.h>

#include "base/limits.hpp"
#include "engine/core.hpp"
#include "engine/sandbox.hpp"

namespace sandforge::engine {
namespace {

using std::chrono::milliseconds;

std::string exec_request(const Sandbox& sandbox, const ExecSpec& spec, bool stream_stdin) {
  wire::ExecRequest request;
  request.argv = spec.argv;
  request.env = spec.env;
  request.cwd = spec.cwd;
  request.user = spec.user;
  request.isolation = task_isolation_of(sandbox.spec());
  request.stream_stdin = stream_stdin ? 1 : 0;
  request.timeout_ms = static_cast<std::uint64_t>(spec.timeout_ms);
  request.memory_max = spec.memory_max;
  request.pids_max = spec.pids_max;
  return wire::encode_open(wire::Operation::Exec, request);
}

}  // namespace

ExecOperation::ExecOperation(std::shared_ptr<Sandbox> sandbox, const ExecSpec& spec, bool stream_stdin)
    : Operation(sandbox, Kind::Exec, exec_request(*sandbox, spec, stream_stdin)),
      verdict_(policy::evaluate_command(sandbox->core()->policy(), spec.argv)),
      timeout_ms_(spec.timeout_ms) {}

base::Status ExecOperation::may_begin() {
  if (verdict_.allowed) return {};
  return policy::to_error(verdict_, "exec");
}

base::Status ExecOperation::kill() {
  return post_self([this] {
    if (agent_stream() == nullptr) return;  // it ended already
    agent_stream()->cancel();
    watch_the_end(0);
    timer_ = core().loop().after(milliseconds(limits::kExecHostGraceMs), [this] {
      finish_by_host(wire::EndedBy::Killed, "killed; the guest did not confirm it");
    });
  });
}

void ExecOperation::end_by_sandbox(wire::EndedBy verdict, const base::Error& error) {
  finish_by_host(verdict, error.message);
}

void ExecOperation::on_opened() {
  opened_at_ = std::chrono::steady_clock::now();
  if (timeout_ms_ == 0) return;
  watch_the_end(timeout_ms_);
  timer_ = core().loop().after(milliseconds(timeout_ms_ + limits::kExecHostGraceMs), [this] {
    finish_by_host(wire::EndedBy::Timeout,
                   fmt::format("timed out after {} ms; the guest did not end it itself", timeout_ms_));
  });
}

// The guest kills its tasks by SIGKILL, which all hear but those that wait for a file server.
void ExecOperation::watch_the_end(std::int64_t after_ms) {
  if (!sandbox()->has_mounts()) return;
  end_timer_ = core().loop().after(milliseconds(after_ms + limits::kMountGraceMs),
                                   [this] { broken_mounts_ = sandbox()->break_mounts(); });
}

void ExecOperation::on_failed(base::Error error) { finish(std::move(error)); }

void ExecOperation::on_result(base::Result<wire::ResultHeader> result) {
  // The session is lost: whether the guest crashed or its agent is gone, the sandbox finds out and tells everyone.
  if (!result) return;
  if (result->code != base::Code::Ok) {
    base::Error error =
        base::make_error(result->code, "exec_refused", "the guest refused the command: " + printable(result->message));
    error.os_errno = result->os_errno;
    return finish(std::move(error));
  }
  auto decoded = wire::decode<wire::ExecResult>(result->body);
  if (!decoded) {
    return finish(base::make_error(base::Code::GuestFault, "bad_message", std::move(decoded.error().message)));
  }
  if (!broken_mounts_.empty()) {
    decoded->reason +=
        fmt::format("{}a mount did not answer and is lost: {}", decoded->reason.empty() ? "" : "; ", broken_mounts_);
  }
  finish(std::move(decoded));
}

void ExecOperation::finish_by_host(wire::EndedBy verdict, std::string reason) {
  wire::ExecResult result;
  result.ended_by = verdict;
  result.exit_code = verdict == wire::EndedBy::Timeout ? 124 : 137;
  result.stdout_total = received_[wire::kStdout];
  result.stderr_total = received_[wire::kStderr];
  result.wall_ns =
      static_cast<std::uint64_t>(std::chrono::nanoseconds(std::chrono::steady_clock::now() - opened_at_).count());
  result.reason = std::move(reason);
  finish(std::move(result));
}

void ExecOperation::finish(base::Result<wire::ExecResult> outcome) {
  const auto self = shared_from_this();
  timer_.reset();
  end_timer_.reset();
  detach();
  {
    const std::lock_guard lock(mutex_);
    if (outcome_) return;
    outcome_ = std::move(outcome);
  }
  on_finished();
}

}  // namespace sandforge::engine
