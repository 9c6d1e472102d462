// SPDX-License-Identifier: Apache-2.0
// Commands of the fake agent: start, run in steps, stream output under credit, verdict.
#include <algorithm>
#include <cstring>
#include <utility>

#include "backend/fake/stream.hpp"

namespace sandforge::backend::fake {
namespace {

constexpr int kStepsATurn = 64;  // of one task, before the others get theirs

// Signals whose default is to be ignored, or to stop and go on, which the fake does not do.
bool is_harmless(int signal) { return signal == 0 || (signal >= 17 && signal <= 23) || signal == 28; }

}  // namespace

void FakeAgent::start_exec(Stream& stream, const wire::ExecRequest& request) {
  if (guest_.crash_on_exec) {
    guest_.crashed = true;
    return;
  }
  if (request.argv.empty() || request.argv[0].empty()) {
    return simple(stream, base::make_error(base::Code::InvalidArgument, {}, "empty command"));
  }
  stream.task = std::make_unique<FakeTask>(guest_.files, guest_.next_pid++);
  FakeTask& task = *stream.task;
  task.env = {{"PATH", "/usr/local/bin:/usr/bin:/bin"}, {"HOME", "/root"}, {"LANG", "C.UTF-8"}};
  for (const std::string& entry : request.env) {
    const std::size_t equals = entry.find('=');
    if (equals != entry.npos && equals > 0) task.env[entry.substr(0, equals)] = entry.substr(equals + 1);
  }
  if (!request.cwd.empty()) task.cwd = request.cwd;
  task.input_ended = request.stream_stdin == 0;
  stream.takes_input = request.stream_stdin != 0;
  stream.started = Clock::now();
  if (request.timeout_ms > 0) {
    stream.timeout_ms = request.timeout_ms;
    stream.deadline = stream.started +
                      std::chrono::milliseconds(std::min<std::uint64_t>(request.timeout_ms, limits::kExecTimeoutMsMax));
  }

  const auto refuse = [&](int code, const std::string& reason) {
    task.write(2, reason + "\n");
    end_task(stream, wire::EndedBy::Exit, code, 0, reason);
  };
  const auto directory = guest_.files.find(task.cwd);
  if (!directory) return refuse(126, "cannot enter the working directory " + directory.error().message);
  if (!directory.value()->is_directory()) return refuse(126, "working directory " + task.cwd + ": Not a directory");
  if (!request.user.empty() && request.user != "root" && request.user != "0") {
    return refuse(126, "no such user: " + request.user);
  }
  stream.program = make_program(request.argv);
  if (!stream.program) return refuse(127, request.argv[0] + ": command not found");
  frame(wire::FrameType::Meta, 0, stream, wire::encode(wire::Started{task.pid}));
}

void FakeAgent::end_task(Stream& stream, wire::EndedBy ended_by, int exit_code, int signal, std::string reason) {
  stream.task_ended = true;
  wire::ExecResult& verdict = stream.verdict;
  verdict.ended_by = ended_by;
  verdict.exit_code = exit_code;
  verdict.signal = signal;
  verdict.reason = std::move(reason);
  verdict.wall_ns = static_cast<std::uint64_t>(std::chrono::nanoseconds(Clock::now() - stream.started).count());
}

// Steps the program while its output has room. True when it could go on at once.
bool FakeAgent::run_task(Stream& stream) {
  FakeTask& task = *stream.task;
  for (int steps = 0; steps < kStepsATurn; ++steps) {
    if (!is_harmless(task.raised)) {
      const int number = task.raised;
      end_task(stream, wire::EndedBy::Signal, 128 + number, number,
               "killed by signal " + std::to_string(number) + " (" + ::strsignal(number) + ")");
      return true;
    }
    task.raised = 0;
    if (Clock::now() >= stream.deadline) {
      end_task(stream, wire::EndedBy::Timeout, 124, 9, "timed out after " + std::to_string(stream.timeout_ms) + " ms");
      return true;
    }
    if (!task.has_room()) return false;
    task.wake_at = Clock::time_point::max();
    const Step step = stream.program->step(task);
    if (task.consumed > 0) give_credit(stream, wire::kStdin, std::exchange(task.consumed, 0));
    if (step.kind == Step::Kind::Wait) return false;
    if (step.kind == Step::Kind::Done && is_harmless(task.raised)) {
      end_task(stream, wire::EndedBy::Exit, step.code, 0, {});
      return true;
    }
  }
  return true;
}

// True when something went.
bool FakeAgent::send_output(Stream& stream, std::uint8_t channel, std::string& bytes) {
  std::uint32_t& credit = stream.credit[channel];
  const std::size_t count = std::min({bytes.size(), std::size_t{credit}, limits::kFramePayloadMax});
  if (count == 0 || out_.size() >= limits::kSessionSendMax) return false;
  frame(wire::FrameType::Data, channel, stream, std::string_view(bytes).substr(0, count));
  bytes.erase(0, count);
  credit -= static_cast<std::uint32_t>(count);
  return true;
}

bool FakeAgent::advance_exec(Stream& stream) {
  FakeTask& task = *stream.task;
  if (stream.cancelled) {
    // The first cause wins; output that was not taken is given up.
    if (!stream.task_ended) end_task(stream, wire::EndedBy::Killed, 137, 9, "killed");
    task.out = {};
  }
  bool again = false;
  if (!stream.task_ended) again = run_task(stream);
  again |= send_output(stream, wire::kStdout, task.out[wire::kStdout]);
  again |= send_output(stream, wire::kStderr, task.out[wire::kStderr]);
  if (!stream.task_ended || !task.out[1].empty() || !task.out[2].empty()) {
    return again && out_.size() < limits::kSessionSendMax;
  }
  frame(wire::FrameType::End, wire::kStdout, stream);
  frame(wire::FrameType::End, wire::kStderr, stream);
  stream.verdict.stdout_total = task.totals[wire::kStdout];
  stream.verdict.stderr_total = task.totals[wire::kStderr];
  simple(stream, {}, wire::encode(stream.verdict));
  return false;
}

Clock::time_point FakeAgent::next_deadline() const {
  auto earliest = Clock::time_point::max();
  for (const auto& [id, stream] : streams_) {
    if (!stream->task || stream->task_ended) continue;
    earliest = std::min({earliest, stream->deadline, stream->task->wake_at});
  }
  return earliest;
}

}  // namespace sandforge::backend::fake
