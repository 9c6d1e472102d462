// SPDX-License-Identifier: Apache-2.0
// FileReader, FileWriter, FileLister: contents of any size between a caller and the guest, in bounded memory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/channel_buffer.hpp"
#include "engine/file_operation.hpp"

namespace sandforge::engine {

class FileReader final : public FileOperation {
 public:
  FileReader(std::shared_ptr<Sandbox> sandbox, std::string path, std::uint64_t offset, std::uint64_t length);

  // After begin(), once: what is being read. BLOCKS.
  base::Result<wire::FileInfo> wait_info();
  // At least one byte, 0 at the end. BLOCKS.
  base::Result<std::size_t> read(void* buffer, std::size_t capacity);

 private:
  void on_meta(std::string_view payload) override;
  void on_data(std::uint8_t channel, std::string_view bytes) override;

  // Under mutex_.
  ChannelBuffer buffer_;
  CreditDebt debt_;
  std::optional<base::Result<wire::FileInfo>> info_;
};

class FileWriter final : public FileOperation {
 public:
  FileWriter(std::shared_ptr<Sandbox> sandbox, std::string path, std::uint32_t mode);

  // Takes all of it. BLOCKS while the window is full.
  base::Status write(std::string_view bytes);
  // The file is in place when this answers OK. BLOCKS.
  base::Result<wire::FileInfo> finish_write();

 private:
  void on_opened() override;
  void on_sendable(std::uint8_t channel) override;
  void post_flush();
  void flush();

  // Under mutex_.
  ChannelBuffer buffer_;
  bool ended_ = false;
  bool flush_posted_ = false;
  bool end_sent_ = false;  // loop thread only
};

class FileLister final : public FileOperation {
 public:
  FileLister(std::shared_ptr<Sandbox> sandbox, std::string path);

  // After begin(): the entries sorted by name, bytewise. BLOCKS.
  // Errors: also exhausted "too_many_entries", guest_fault (names that no file has).
  base::Result<std::vector<wire::FileInfo>> wait_entries();

 private:
  void on_data(std::uint8_t channel, std::string_view bytes) override;
  void take_records();

  // Loop thread only, until the outcome is there.
  std::string partial_;  // less than one record
  std::size_t total_ = 0;
  std::vector<wire::FileInfo> entries_;
  CreditDebt debt_;
};

}  // namespace sandforge::engine
