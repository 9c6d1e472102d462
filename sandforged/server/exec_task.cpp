// SPDX-License-Identifier: Apache-2.0
// POST …/exec: a command whose output is collected on the loop thread, while no worker waits for it.
#include <sandforge/sandbox.hpp>

#include <algorithm>
#include <optional>
#include <vector>

#include "server/caps.hpp"
#include "server/json_in.hpp"
#include "server/json_out.hpp"
#include "server/routes.hpp"

namespace sandforge::server {
namespace {

struct Output {
  std::string kept;
  std::uint64_t total = 0;
  bool ended = false;
};

std::string result_json(const ExecResult& result, const Output& out, const Output& err) {
  const std::uint64_t out_bytes = std::max(result.stdout_total, out.total);
  const std::uint64_t err_bytes = std::max(result.stderr_total, err.total);
  const bool truncated = result.truncated || out_bytes > out.kept.size() || err_bytes > err.kept.size();
  JsonWriter json;
  json.begin_object()
      .field("exit_code", result.exit_code)
      .field("exitCode", result.exit_code)
      .field("stdout", out.kept)
      .field("stderr", err.kept)
      .key("artifacts")
      .begin_array()
      .end_array()
      .field("ended_by", name_of(result.ended_by))
      .field("timed_out", result.ended_by == EndedBy::Timeout)
      .field("truncated", truncated)
      .field("stdout_bytes", out_bytes)
      .field("stderr_bytes", err_bytes)
      .field("wall_ms", static_cast<std::int64_t>(result.wall.count() / 1'000'000))
      .field("reason", result.reason)
      .end_object();
  return json.take();
}

// A command that could not be started says why where clients look.
void explain_on_stderr(const ExecResult& result, Output& err) {
  if ((result.exit_code != 126 && result.exit_code != 127) || err.total > 0 || result.reason.empty()) return;
  err.kept = result.reason + "\n";
  err.total = err.kept.size();
}

// Loop thread, but for begin() and the encoding of the result.
class ExecTask : public Deferred, public std::enable_shared_from_this<ExecTask> {
 public:
  // Keeps at most `kept_max` bytes of each output stream.
  ExecTask(std::shared_ptr<Exchange> exchange, std::size_t kept_max)
      : exchange_(std::move(exchange)), kept_max_(kept_max) {}

  // Worker thread.
  void begin(Sandbox& sandbox, ExecSpec spec) {
    input_ = std::move(spec.stdin_data);
    spec.stdin_data.clear();
    spec.stream_stdin = !input_.empty();
    input_open_ = spec.stream_stdin;
    const auto notify = [poster = exchange_->poster(), weak = weak_from_this()] {
      poster([weak] {
        if (const auto task = weak.lock()) task->advance();
      });
    };
    process_.emplace(sandbox.start(spec, notify));
  }

  void attached() override {
    attached_ = true;
    trickle_later();
    advance();
  }

  void cancel() override {
    done_ = true;
    process_.reset();  // ends the command
  }

 private:
  void trickle_later() {
    exchange_->post_after(caps::kTrickleTime, [weak = weak_from_this()] {
      const auto task = weak.lock();
      if (!task || task->done_) return;
      task->trickling_ = true;
      task->exchange_->trickle();
      if (!task->done_) task->trickle_later();
    });
  }

  void advance() {
    if (!attached_ || done_) return;
    const auto self = shared_from_this();  // reply() lets go of the task
    try {
      if (step()) finish();
    } catch (const Error& error) {
      fail(error);
    }
  }

  // True when the command has ended and everything it wrote has been read.
  bool step() {
    feed_input();
    std::size_t budget = caps::kLoopSliceBytes;
    const bool had_ended = result_.has_value();
    bool more = drain(Stream::Stdout, out_, budget);
    more = drain(Stream::Stderr, err_, budget) || more;
    if (!more && !had_ended) {
      result_ = process_->wait(std::chrono::milliseconds(0));
      more = result_.has_value();  // one more pass: output may have come between the reads and the end
    }
    if (more) {
      exchange_->post([weak = weak_from_this()] {
        if (const auto task = weak.lock()) task->advance();
      });
    }
    return !more && had_ended;
  }

  void feed_input() {
    while (input_open_) {
      try {
        if (input_at_ == input_.size()) {
          input_open_ = false;
          process_->close_stdin();
          return;
        }
        const auto taken = process_->write(std::string_view(input_).substr(input_at_), std::chrono::milliseconds(0));
        if (!taken) return;
        input_at_ += *taken;
      } catch (const Error&) {
        input_open_ = false;  // a command need not read its input
      }
    }
  }

  // Reads what is there, at most `budget` bytes. True when the budget ended it.
  bool drain(Stream stream, Output& output, std::size_t& budget) {
    while (!output.ended) {
      if (budget == 0) return true;
      if (buffer_.empty()) buffer_.resize(64 * caps::kKiB);
      const auto count =
          process_->read(stream, buffer_.data(), std::min(buffer_.size(), budget), std::chrono::milliseconds(0));
      if (!count) return false;
      if (*count == 0) {
        output.ended = true;
        return false;
      }
      budget -= *count;
      output.total += *count;
      output.kept.append(buffer_.data(), std::min(*count, kept_max_ - output.kept.size()));
    }
    return false;
  }

  void finish() {
    done_ = true;
    process_.reset();
    explain_on_stderr(*result_, err_);
    // Encoding megabytes would hold up everybody else on the loop.
    exchange_->post_to_worker([self = shared_from_this()] {
      Reply reply;
      reply.body = result_json(*self->result_, self->out_, self->err_);
      self->exchange_->post([self, reply = std::move(reply)]() mutable { self->exchange_->reply(std::move(reply)); });
    });
  }

  void fail(const Error& error) {
    done_ = true;
    process_.reset();
    if (!trickling_) {
      exchange_->reply(error_reply(error));
      return;
    }
    ExecResult lost;  // the status was sent long ago: the verdict must tell
    lost.exit_code = 137;
    lost.ended_by = EndedBy::AgentLost;
    lost.reason = error.what();
    Reply reply;
    reply.body = result_json(lost, out_, err_);
    exchange_->reply(std::move(reply));
  }

  const std::shared_ptr<Exchange> exchange_;
  const std::size_t kept_max_;
  std::optional<Process> process_;
  std::string input_;
  std::size_t input_at_ = 0;
  bool input_open_ = false;
  std::vector<char> buffer_;
  Output out_, err_;
  std::optional<ExecResult> result_;
  bool attached_ = false;  // from here on the loop thread has the task
  bool trickling_ = false;
  bool done_ = false;
};

}  // namespace

Answer exec_command(Context& context, Exchange& exchange, const std::string& id) {
  Sandbox sandbox = open_live(context, id);
  ExecSpec spec = read_exec_body(exchange.request().body);
  if (spec.argv.empty() || spec.argv.front().empty()) {
    throw InvalidArgument("command_required", "command is required", "send {\"command\":[\"program\",\"argument\"]}");
  }
  try {
    auto task = std::make_shared<ExecTask>(exchange.shared_from_this(), context.limits.exec_stream_bytes);
    task->begin(sandbox, std::move(spec));
    return task;
  } catch (const InvalidArgument& error) {
    Reply reply = error_reply(error);
    reply.status = 422;
    return reply;
  }
}

}  // namespace sandforge::server
