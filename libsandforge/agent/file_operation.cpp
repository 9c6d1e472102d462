// SPDX-License-Identifier: Apache-2.0
#include "agent/file_operation.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace sandforge::agent {

base::Status FileJob::check() const {
  if (cancelled()) return base::make_error(base::Code::Conflict, "cancelled", "the operation was cancelled");
  return {};
}

FileOperation::FileOperation(FileContext& context, Stream& stream, Content content, FileBody body)
    : context_(context),
      stream_(stream),
      content_(content),
      body_(std::move(body)),
      job_(std::make_shared<FileJob>(context.root)),
      source_(context.loop, stream, wire::kContent),
      sink_(context.loop, stream, wire::kContent) {}

base::Status FileOperation::open_pipe() {
  if (content_ == Content::None) return {};
  int ends[2];
  if (content_ == Content::Records) {
    // A socket that keeps packets whole: a Data frame holds whole records only.
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return base::os_error("socketpair");
  } else if (::pipe2(ends, O_CLOEXEC) != 0) {
    return base::os_error("pipe");
  }
  const bool to_file = content_ == Content::ToFile;
  base::UniqueFd ours(ends[to_file ? 1 : 0]);
  job_->pipe.reset(ends[to_file ? 0 : 1]);
  if (::fcntl(ours.get(), F_SETFL, O_NONBLOCK) != 0) return base::os_error("fcntl");
  if (to_file) {
    sink_.start(std::move(ours));
  } else {
    source_.hold(std::move(ours), content_ == Content::Records ? Source::Cut::Packets : Source::Cut::Bytes);
  }
  return {};
}

void FileOperation::start() {
  const auto self = shared_from_this();
  Loop* const loop = &context_.loop;
  if (const base::Status opened = open_pipe(); !opened) return on_done(opened.error());
  if (content_ == Content::Records) run_source();
  job_->send_meta = [loop, weak = weak_from_this()](std::string payload) {
    loop->post([weak, payload = std::move(payload)] {
      if (const auto operation = weak.lock()) operation->on_meta(payload);
    });
  };
  context_.workers.submit([loop, self, job = job_, body = std::move(body_)]() mutable {
    auto outcome = std::make_shared<base::Result<std::string>>(body(*job));
    job->pipe.reset();  // the end of the bytes, before the result
    loop->post([self = std::move(self), outcome] { self->on_done(std::move(*outcome)); });
  });
}

void FileOperation::run_source() {
  source_started_ = true;
  source_.run([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->maybe_finish();
  });
}

void FileOperation::on_meta(const std::string& payload) {
  if (abandoned_ || job_->cancelled()) return;
  stream_.meta(payload);
  run_source();
}

void FileOperation::on_done(base::Result<std::string> outcome) {
  outcome_ = std::make_unique<base::Result<std::string>>(std::move(outcome));
  maybe_finish();
}

void FileOperation::maybe_finish() {
  if (!outcome_ || finished_) return;
  if (!abandoned_ && source_started_ && source_.open()) return;
  finished_ = true;
  sink_.close();
  source_.close();
  if (abandoned_) return;
  const bool has_content = content_ == Content::FromFile || content_ == Content::Records;
  if (has_content && !source_.said_end()) stream_.end(wire::kContent);
  if (*outcome_) {
    stream_.finish({base::Code::Ok, 0, {}, std::move(outcome_->value())});
  } else {
    stream_.finish(result_of(outcome_->error()));
  }
}

bool FileOperation::data(std::uint8_t channel, std::string_view bytes) {
  if (channel != wire::kContent || content_ != Content::ToFile) return false;
  sink_.data(bytes);
  return true;
}

bool FileOperation::end(std::uint8_t channel) {
  if (channel != wire::kContent) return false;
  if (content_ == Content::ToFile) sink_.end();
  return true;
}

void FileOperation::credit(std::uint8_t channel, std::uint32_t bytes) {
  if (channel == wire::kContent) source_.credit(bytes);
}

void FileOperation::cancel() {
  // The flag first: the worker takes the closed pipe for the end of the bytes otherwise.
  job_->cancelled_flag.store(true);
  sink_.close();
  source_.close();
}

void FileOperation::abandon() {
  abandoned_ = true;
  cancel();
}

}  // namespace sandforge::agent
