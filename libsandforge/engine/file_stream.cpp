// SPDX-License-Identifier: Apache-2.0
#include "engine/file_stream.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "engine/spec.hpp"

namespace sandforge::engine {
namespace {

using base::Code;

base::Error broken_guest(std::string_view what) {
  return base::make_error(Code::GuestFault, "bad_message",
                          fmt::format("the guest's agent broke the protocol: {}", what));
}

}  // namespace

FileReader::FileReader(std::shared_ptr<Sandbox> sandbox, std::string path, std::uint64_t offset, std::uint64_t length)
    : FileOperation(std::move(sandbox), Kind::FileRead,
                    wire::encode_open(wire::Operation::FileRead, wire::FileReadRequest{path, offset, length}), path) {}

base::Result<wire::FileInfo> FileReader::wait_info() {
  std::unique_lock lock(mutex_);
  SANDFORGE_TRY_STATUS(wait_until(lock, [this] { return info_.has_value(); }));
  if (info_) return std::move(*info_);
  if (!*outcome_) return base::Error(outcome_->error());
  return broken_guest("a file without its description");
}

base::Result<std::size_t> FileReader::read(void* buffer, std::size_t capacity) {
  std::unique_lock lock(mutex_);
  SANDFORGE_TRY_STATUS(wait_until(lock, [this] { return !buffer_.empty(); }));
  if (buffer_.empty()) {
    // The end only when the guest says that it was one.
    if (!*outcome_) return base::Error(outcome_->error());
    return std::size_t{0};
  }
  const std::size_t count = buffer_.take(buffer, capacity);
  const std::size_t credit = outcome_ ? 0 : debt_.add(count);
  lock.unlock();
  if (credit > 0) {
    (void)post_self([this, credit] {
      if (agent_stream() == nullptr) return;
      const std::uint32_t window = agent_stream()->consumed(wire::kContent, credit);
      const std::lock_guard guard(mutex_);
      debt_.set_window(window);
    });
  }
  return count;
}

void FileReader::on_meta(std::string_view payload) {
  {
    const std::lock_guard lock(mutex_);
    auto info = wire::decode<wire::FileInfo>(payload);
    if (info)
      info_ = std::move(info);
    else
      info_ = broken_guest(info.error().message);
    progress();
  }
  changed_.notify_all();
}

void FileReader::on_data(std::uint8_t channel, std::string_view bytes) {
  if (channel != wire::kContent) return;
  {
    const std::lock_guard lock(mutex_);
    buffer_.append(bytes);
    progress();
  }
  changed_.notify_all();
}

FileWriter::FileWriter(std::shared_ptr<Sandbox> sandbox, std::string path, std::uint32_t mode)
    : FileOperation(std::move(sandbox), Kind::FileWrite,
                    wire::encode_open(wire::Operation::FileWrite, wire::FileWriteRequest{path, mode}), path) {}

base::Status FileWriter::write(std::string_view bytes) {
  while (!bytes.empty()) {
    {
      std::unique_lock lock(mutex_);
      SANDFORGE_TRY_STATUS(wait_until(lock, [this] { return buffer_.space() > 0; }));
      if (outcome_) {
        if (!*outcome_) return base::Error(outcome_->error());
        return broken_guest("a file that was complete before its contents");
      }
      const std::size_t count = std::min(bytes.size(), buffer_.space());
      buffer_.append(bytes.substr(0, count));
      bytes.remove_prefix(count);
    }
    post_flush();
  }
  return {};
}

base::Result<wire::FileInfo> FileWriter::finish_write() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  post_flush();
  SANDFORGE_TRY(const wire::ResultHeader header, wait_result());
  auto info = wire::decode<wire::FileInfo>(header.body);
  if (!info) return broken_guest(info.error().message);
  return info;
}

void FileWriter::post_flush() {
  {
    const std::lock_guard lock(mutex_);
    if (flush_posted_) return;
    flush_posted_ = true;
  }
  (void)post_self([this] { flush(); });
}

void FileWriter::on_opened() { flush(); }

void FileWriter::on_sendable(std::uint8_t channel) {
  if (channel == wire::kContent) flush();
}

void FileWriter::flush() {
  {
    const std::lock_guard lock(mutex_);
    flush_posted_ = false;
    if (agent_stream() == nullptr || end_sent_) return;
    // The session copies what it takes and calls nothing back: fine under the lock.
    const std::size_t sent = buffer_.empty() ? 0 : agent_stream()->send(wire::kContent, buffer_.view());
    buffer_.drop(sent);
    if (sent > 0) progress();
    if (buffer_.empty() && ended_) {
      end_sent_ = true;
      agent_stream()->end(wire::kContent);
    }
    if (sent == 0) return;
  }
  changed_.notify_all();
}

FileLister::FileLister(std::shared_ptr<Sandbox> sandbox, std::string path)
    : FileOperation(std::move(sandbox), Kind::Call,
                    wire::encode_open(wire::Operation::FileList, wire::PathRequest{path, 0, 0}), path) {}

base::Result<std::vector<wire::FileInfo>> FileLister::wait_entries() {
  SANDFORGE_TRY(const wire::ResultHeader header, wait_result());
  (void)header;
  if (!partial_.empty()) return broken_guest("a listing that ends within a record");
  std::ranges::sort(entries_, {}, &wire::FileInfo::name);
  return std::move(entries_);
}

void FileLister::on_data(std::uint8_t channel, std::string_view bytes) {
  if (channel != wire::kContent) return;
  total_ += bytes.size();
  partial_ += bytes;
  take_records();
  if (agent_stream() == nullptr) return;
  if (entries_.size() > limits::kDirEntriesMax || total_ > limits::kDirBytesMax) {
    return finish(base::make_error(Code::Exhausted, "too_many_entries",
                                   fmt::format("guest file \"{}\": the directory has more than {} entries",
                                               printable(path()), limits::kDirEntriesMax),
                                   "list it with a command in the sandbox"));
  }
  {
    const std::lock_guard lock(mutex_);
    progress();
  }
  if (const std::size_t credit = debt_.add(bytes.size()); credit > 0) {
    debt_.set_window(agent_stream()->consumed(wire::kContent, credit));
  }
}

void FileLister::take_records() {
  std::string_view rest = partial_;
  while (rest.size() >= sizeof(std::uint32_t)) {
    std::uint32_t length = 0;
    wire::Decoder prefix(rest);
    prefix(length);
    if (length > limits::kFramePayloadMax) return finish(broken_guest("a record of a listing is too long"));
    if (prefix.rest().size() < length) break;
    auto info = wire::decode<wire::FileInfo>(prefix.rest().substr(0, length));
    if (!info) return finish(broken_guest(info.error().message));
    // A name is one component: what joins names to paths relies on it.
    const std::string& name = info->name;
    if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos ||
        name.find('\0') != std::string::npos) {
      return finish(broken_guest("a listing holds a name that no file has"));
    }
    entries_.push_back(std::move(info).value());
    rest = prefix.rest().substr(length);
  }
  partial_.erase(0, partial_.size() - rest.size());
}

}  // namespace sandforge::engine
