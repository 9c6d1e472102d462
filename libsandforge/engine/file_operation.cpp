// SPDX-License-Identifier: Apache-2.0
#include "engine/file_operation.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cstring>

#include "base/limits.hpp"
#include "engine/core.hpp"
#include "engine/sandbox.hpp"
#include "engine/spec.hpp"

namespace sandforge::engine {
namespace {

const char* reason_of_errno(int number) noexcept {
  switch (number) {
    case ENOENT: return "file_missing";
    case EACCES:
    case EPERM:
    case EROFS: return "permission_denied";
    case EEXIST: return "file_exists";
    case EISDIR: return "is_a_directory";
    case ENOTDIR: return "not_a_directory";
    case ENOTEMPTY: return "not_empty";
    case ENOSPC:
    case EDQUOT: return "disk_full";
    case ELOOP: return "symlink_loop";
    case ENAMETOOLONG: return "name_too_long";
    default: return "";
  }
}

}  // namespace

base::Result<wire::ResultHeader> call_guest(const std::shared_ptr<Sandbox>& sandbox, std::string request,
                                            const std::string& path) {
  const auto pending = std::make_shared<FileOperation>(sandbox, FileOperation::Kind::Call, std::move(request), path);
  SANDFORGE_TRY_STATUS(pending->begin());
  return pending->wait_result();
}

base::Error guest_file_error(const wire::ResultHeader& result, std::string_view path) {
  const std::string what = result.os_errno != 0 ? std::strerror(result.os_errno) : printable(result.message);
  base::Error error = base::make_error(
      result.code, reason_of_errno(result.os_errno),
      fmt::format("guest file \"{}\": {}", printable(path), what.empty() ? base::code_name(result.code) : what));
  error.os_errno = result.os_errno;
  return error;
}

FileOperation::FileOperation(std::shared_ptr<Sandbox> sandbox, Kind kind, std::string request, std::string path)
    : Operation(std::move(sandbox), kind, std::move(request)), path_(std::move(path)) {}

base::Result<wire::ResultHeader> FileOperation::wait_result() {
  std::unique_lock lock(mutex_);
  SANDFORGE_TRY_STATUS(wait_until(lock, [] { return false; }));
  return *outcome_;
}

void FileOperation::abandon() {
  (void)post_self([this] {
    if (agent_stream() != nullptr) finish(base::make_error(base::Code::Conflict, "abandoned", "abandoned"));
  });
}

base::Error FileOperation::stalled_error() const {
  return base::make_error(
      base::Code::TimedOut, "stalled",
      fmt::format("guest file \"{}\": no progress for {} s", printable(path_), limits::kFileStallMs / 1000));
}

bool FileOperation::wait_slice(std::unique_lock<std::mutex>& lock) {
  seen_ = progress_;
  const auto status = changed_.wait_for(lock, std::chrono::milliseconds(limits::kFileStallMs));
  return status == std::cv_status::no_timeout || progress_ != seen_;
}

void FileOperation::end_by_sandbox(wire::EndedBy, const base::Error& error) { finish(base::Error(error)); }

void FileOperation::on_failed(base::Error error) { finish(std::move(error)); }

void FileOperation::on_result(base::Result<wire::ResultHeader> result) {
  if (result && result->code != base::Code::Ok) return finish(guest_file_error(*result, path_));
  finish(std::move(result));
}

void FileOperation::finish(base::Result<wire::ResultHeader> outcome) {
  const auto self = shared_from_this();
  detach();
  {
    const std::lock_guard lock(mutex_);
    if (!outcome_) outcome_ = std::move(outcome);
  }
  changed_.notify_all();
}

}  // namespace sandforge::engine
