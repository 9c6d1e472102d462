// SPDX-License-Identifier: Apache-2.0
#include "engine/files.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/limits.hpp"

namespace sandforge::engine {
namespace {

using base::Code;
using Op = wire::Operation;

base::Status enter(const SandboxPtr& sandbox, std::string_view path) {
  SANDFORGE_TRY_STATUS(check_guest_path(path));
  return sandbox->core()->may_block();
}

base::Status check_mode(std::uint32_t mode) {
  if (mode <= 07777) return {};
  return base::make_error(Code::InvalidArgument, "invalid_mode",
                          fmt::format("mode is {:o} (octal), but must be at most 7777", mode));
}

base::Error too_large(std::string_view path, std::uint64_t cap) {
  return base::make_error(Code::Exhausted, "too_large",
                          fmt::format("guest file \"{}\": larger than the {} bytes allowed", printable(path), cap),
                          "stream it, or allow more");
}

template <typename Request>
base::Result<wire::ResultHeader> call(const SandboxPtr& sandbox, Op operation, const Request& request,
                                      const std::string& path) {
  SANDFORGE_TRY_STATUS(enter(sandbox, path));
  return call_guest(sandbox, wire::encode_open(operation, request), path);
}

// A name from the guest that C strings can carry.
base::Result<wire::FileInfo> checked(base::Result<wire::FileInfo> info) {
  if (info && info->name.find('\0') == std::string::npos && info->link_target.find('\0') == std::string::npos) {
    return info;
  }
  return base::make_error(Code::GuestFault, "bad_message", "the guest's agent broke the protocol: malformed FileInfo");
}

}  // namespace

base::Result<OpenFile> open_read(const SandboxPtr& sandbox, const std::string& path, std::uint64_t offset,
                                 std::uint64_t length) {
  SANDFORGE_TRY_STATUS(enter(sandbox, path));
  auto reader = std::make_shared<FileReader>(sandbox, path, offset, length);
  SANDFORGE_TRY_STATUS(reader->begin());
  auto info = reader->wait_info();
  if (!info) return std::move(info).error();
  info = checked(std::move(info));
  if (!info) {
    reader->abandon();
    return std::move(info).error();
  }
  return OpenFile{std::move(reader), std::move(info).value()};
}

base::Result<std::shared_ptr<FileWriter>> open_write(const SandboxPtr& sandbox, const std::string& path,
                                                     std::uint32_t mode) {
  SANDFORGE_TRY_STATUS(check_mode(mode));
  SANDFORGE_TRY_STATUS(enter(sandbox, path));
  auto writer = std::make_shared<FileWriter>(sandbox, path, mode);
  SANDFORGE_TRY_STATUS(writer->begin());
  return writer;
}

base::Result<std::string> read_file(const SandboxPtr& sandbox, const std::string& path, std::uint64_t cap) {
  if (cap == 0) cap = limits::kReadFileDefault;
  SANDFORGE_TRY(const OpenFile file, open_read(sandbox, path, 0, UINT64_MAX));
  if (file.info.length > cap) {
    file.reader->abandon();
    return too_large(path, cap);
  }
  // What stat says is a hint: files of /proc say 0, others grow meanwhile, and a guest may lie.
  std::string bytes(static_cast<std::size_t>(std::min(file.info.length, limits::kMiB)) + 1, '\0');
  std::size_t filled = 0;
  for (;;) {
    if (filled == bytes.size()) bytes.resize(2 * bytes.size());
    SANDFORGE_TRY(const std::size_t count, file.reader->read(bytes.data() + filled, bytes.size() - filled));
    filled += count;
    if (count == 0) break;
    if (filled > cap) {
      file.reader->abandon();
      return too_large(path, cap);
    }
  }
  bytes.resize(filled);
  return bytes;
}

base::Result<wire::FileInfo> write_file(const SandboxPtr& sandbox, const std::string& path, std::string_view bytes,
                                        std::uint32_t mode) {
  SANDFORGE_TRY(const auto writer, open_write(sandbox, path, mode));
  SANDFORGE_TRY_STATUS(writer->write(bytes));
  return writer->finish_write();
}

base::Result<std::vector<wire::FileInfo>> list_files(const SandboxPtr& sandbox, const std::string& path) {
  SANDFORGE_TRY_STATUS(enter(sandbox, path));
  const auto lister = std::make_shared<FileLister>(sandbox, path);
  SANDFORGE_TRY_STATUS(lister->begin());
  return lister->wait_entries();
}

base::Result<wire::FileInfo> stat_file(const SandboxPtr& sandbox, const std::string& path) {
  SANDFORGE_TRY(const auto result, call(sandbox, Op::FileStat, wire::PathRequest{path, 0, 0}, path));
  return checked(wire::decode<wire::FileInfo>(result.body));
}

base::Status remove_file(const SandboxPtr& sandbox, const std::string& path, bool recursive) {
  const wire::PathRequest request{path, 0, static_cast<std::uint8_t>(recursive ? 1 : 0)};
  SANDFORGE_TRY_STATUS(call(sandbox, Op::FileRemove, request, path));
  return {};
}

base::Status rename_file(const SandboxPtr& sandbox, const std::string& from, const std::string& to) {
  SANDFORGE_TRY_STATUS(check_guest_path(to));
  SANDFORGE_TRY_STATUS(call(sandbox, Op::FileRename, wire::RenameRequest{from, to}, from));
  return {};
}

base::Status make_directory(const SandboxPtr& sandbox, const std::string& path, std::uint32_t mode, bool parents) {
  SANDFORGE_TRY_STATUS(check_mode(mode));
  const wire::PathRequest request{path, mode, static_cast<std::uint8_t>(parents ? 1 : 0)};
  SANDFORGE_TRY_STATUS(call(sandbox, Op::MakeDirectory, request, path));
  return {};
}

}  // namespace sandforge::engine
