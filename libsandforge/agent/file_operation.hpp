// SPDX-License-Identifier: Apache-2.0
// FileOperation: one file request. Its body runs on a worker thread with plain blocking calls and talks to the loop
// through a pipe, so that a pump moves the bytes within the credit window and memory stays flat at any size.
//
//      worker:  body ---- bytes ----> pipe ----> Source ----> Data     (read, list)
//      worker:  body <--- bytes ----- pipe <---- Sink   <---- Data     (write)
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "agent/loop.hpp"
#include "agent/pumps.hpp"
#include "agent/stream.hpp"
#include "agent/workers.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::agent {

// What all file operations share. Outlives them.
struct FileContext {
  Loop& loop;
  Workers& workers;
  int root = -1;
};

// The worker's side. Shared with the operation, so it lives as long as either.
class FileJob {
 public:
  explicit FileJob(int root_fd) : root(root_fd) {}

  // Worker thread. Sends the one Meta; bytes written before it are not read yet.
  void meta(std::string payload) { send_meta(std::move(payload)); }
  // The end of the pipe may mean that the operation was given up, not that all has come.
  bool cancelled() const noexcept { return cancelled_flag.load(); }
  // Conflict "cancelled" when it was.
  base::Status check() const;

  const int root;
  base::UniqueFd pipe;  // the worker's end, blocking; invalid when the operation carries no content

 private:
  friend class FileOperation;
  std::atomic<bool> cancelled_flag{false};
  std::function<void(std::string)> send_meta;
};

// Gives the encoded body of the result.
using FileBody = std::function<base::Result<std::string>(FileJob& job)>;

class FileOperation final : public Operation, public std::enable_shared_from_this<FileOperation> {
 public:
  enum class Content : std::uint8_t { None, FromFile, Records, ToFile };

  FileOperation(FileContext& context, Stream& stream, Content content, FileBody body);

  void start() override;
  bool data(std::uint8_t channel, std::string_view bytes) override;
  bool end(std::uint8_t channel) override;
  void credit(std::uint8_t channel, std::uint32_t bytes) override;
  void cancel() override;
  void abandon() override;
  void backlog_cleared() override { source_.backlog_cleared(); }

 private:
  base::Status open_pipe();
  void run_source();
  void on_meta(const std::string& payload);
  void on_done(base::Result<std::string> outcome);
  void maybe_finish();

  FileContext& context_;
  Stream& stream_;
  const Content content_;
  FileBody body_;
  std::shared_ptr<FileJob> job_;
  Source source_;
  Sink sink_;
  std::unique_ptr<base::Result<std::string>> outcome_;  // when the body is done
  bool source_started_ = false;
  bool abandoned_ = false;
  bool finished_ = false;
};

}  // namespace sandforge::agent
