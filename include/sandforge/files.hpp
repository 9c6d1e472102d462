// SPDX-License-Identifier: Apache-2.0
// Files, FileReader, FileWriter: the files of one sandbox. Everything here BLOCKS, with a stall limit of 30 s.
#pragma once

#include <sandforge/error.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sandforge {

struct FileInfo {
  std::string name{};  // last component, raw bytes
  std::string path{};
  std::uint64_t length = 0;  // bytes
  std::uint32_t mode = 0;    // POSIX st_mode, type bits included
  std::uint32_t uid = 0, gid = 0;
  std::int64_t modified_at = 0;  // Unix seconds
  std::uint32_t modified_nsec = 0;
  std::string link_target{};  // of a symlink in a listing
};

namespace detail {

inline FileInfo copy(const sandforge_file_info& from) {
  FileInfo info;
  info.name = text_of(from.name);
  info.path = text_of(from.path);
  info.length = from.length;
  info.mode = from.mode;
  info.uid = from.uid;
  info.gid = from.gid;
  info.modified_at = from.modified_at;
  info.modified_nsec = from.modified_nsec;
  info.link_target = text_of(from.link_target);
  return info;
}

}  // namespace detail

// A file being read from front to back, in bounded memory. Move-only.
class FileReader {
 public:
  // The next bytes into `buffer`; 0 at the end.
  std::size_t read(void* buffer, std::size_t capacity) {
    detail::Call call;
    std::size_t count = 0;
    call.check(sandforge_file_read(file_.get(), buffer, capacity, &count, call.slot()));
    return count;
  }
  // Of the file as it was opened.
  FileInfo info() const {
    const sandforge_file_info* info = sandforge_file_get_info(file_.get());
    return info == nullptr ? FileInfo{} : detail::copy(*info);
  }

 private:
  friend class Files;
  explicit FileReader(sandforge_file* file) noexcept : file_(file) {}
  detail::Owned<sandforge_file, sandforge_file_free> file_;
};

// A file being written. It appears at finish() and not before; without finish() nothing is left behind. Move-only.
class FileWriter {
 public:
  void write(std::string_view data) {
    detail::Call call;
    call.check(sandforge_file_write(file_.get(), data.data(), data.size(), call.slot()));
  }
  void finish() {
    detail::Call call;
    call.check(sandforge_file_finish(file_.get(), call.slot()));
  }

 private:
  friend class Files;
  explicit FileWriter(sandforge_file* file) noexcept : file_(file) {}
  detail::Owned<sandforge_file, sandforge_file_free> file_;
};

// A view made by Sandbox::files(): it borrows the sandbox handle and must not outlive it. Paths are absolute guest
// paths, any bytes but NUL.
class Files {
 public:
  // To the end of the file.
  static constexpr std::uint64_t kToEnd = UINT64_MAX;

  // A whole file of at most `max_length` bytes (0: 16 MiB); Exhausted ("too_large") when it is larger.
  std::string read(const std::string& path, std::uint64_t max_length = 0) const {
    detail::Call call;
    sandforge_buffer* raw = nullptr;
    call.check(sandforge_sandbox_read_file(sandbox_, c_path(path), max_length, &raw, call.slot()));
    const detail::Owned<sandforge_buffer, sandforge_buffer_free> buffer(raw);
    return std::string(reinterpret_cast<const char*>(buffer->data), buffer->length);
  }
  // Creates or replaces atomically, missing parents included. `mode` 0: 0644, or what the old file has.
  void write(const std::string& path, std::string_view data, std::uint32_t mode = 0) const {
    detail::Call call;
    call.check(sandforge_sandbox_write_file(sandbox_, c_path(path), data.data(), data.size(), mode, call.slot()));
  }
  // Sorted by name, bytewise; symlinks are not followed.
  std::vector<FileInfo> list(const std::string& path) const {
    detail::Call call;
    sandforge_file_list* raw = nullptr;
    call.check(sandforge_sandbox_list_files(sandbox_, c_path(path), &raw, call.slot()));
    const detail::Owned<sandforge_file_list, sandforge_file_list_free> list(raw);
    std::vector<FileInfo> entries;
    entries.reserve(list->count);
    for (std::size_t i = 0; i < list->count; ++i) entries.push_back(detail::copy(*list->items[i]));
    return entries;
  }
  // Follows symlinks.
  FileInfo stat(const std::string& path) const {
    detail::Call call;
    sandforge_file_info* raw = nullptr;
    call.check(sandforge_sandbox_stat(sandbox_, c_path(path), &raw, call.slot()));
    const detail::Owned<sandforge_file_info, sandforge_file_info_free> info(raw);
    return detail::copy(*info);
  }
  // A symlink itself is removed; a directory that is not empty only with `recursive`.
  void remove(const std::string& path, bool recursive = false) const {
    detail::Call call;
    call.check(sandforge_sandbox_remove(sandbox_, c_path(path), recursive ? 1 : 0, call.slot()));
  }
  void rename(const std::string& from, const std::string& to) const {
    detail::Call call;
    call.check(sandforge_sandbox_rename(sandbox_, c_path(from), c_path(to), call.slot()));
  }
  // `mode` 0: 0755. With `parents` missing ones are made, and an existing directory is fine.
  void mkdir(const std::string& path, std::uint32_t mode = 0, bool parents = false) const {
    detail::Call call;
    call.check(sandforge_sandbox_mkdir(sandbox_, c_path(path), mode, parents ? 1 : 0, call.slot()));
  }
  FileReader open_read(const std::string& path, std::uint64_t offset = 0, std::uint64_t length = kToEnd) const {
    detail::Call call;
    sandforge_file* file = nullptr;
    call.check(sandforge_sandbox_open_read(sandbox_, c_path(path), offset, length, &file, call.slot()));
    return FileReader(file);
  }
  FileWriter open_write(const std::string& path, std::uint32_t mode = 0) const {
    detail::Call call;
    sandforge_file* file = nullptr;
    call.check(sandforge_sandbox_open_write(sandbox_, c_path(path), mode, &file, call.slot()));
    return FileWriter(file);
  }

 private:
  friend class Sandbox;
  explicit Files(sandforge_sandbox* sandbox) noexcept : sandbox_(sandbox) {}
  static const char* c_path(const std::string& path) { return detail::c_text(path, "the path"); }

  sandforge_sandbox* sandbox_;
};

}  // namespace sandforge
