// SPDX-License-Identifier: Apache-2.0
// Files of a guest, one call each. All of them BLOCK; paths are checked here. Errors: see sandforge.h, section 7.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/file_stream.hpp"
#include "engine/sandbox.hpp"

namespace sandforge::engine {

using SandboxPtr = std::shared_ptr<Sandbox>;

struct OpenFile {
  std::shared_ptr<FileReader> reader;
  wire::FileInfo info;
};
base::Result<OpenFile> open_read(const SandboxPtr& sandbox, const std::string& path, std::uint64_t offset,
                                 std::uint64_t length);
base::Result<std::shared_ptr<FileWriter>> open_write(const SandboxPtr& sandbox, const std::string& path,
                                                     std::uint32_t mode);

// `cap` 0: limits::kReadFileDefault. Errors: also exhausted "too_large".
base::Result<std::string> read_file(const SandboxPtr& sandbox, const std::string& path, std::uint64_t cap);
base::Result<wire::FileInfo> write_file(const SandboxPtr& sandbox, const std::string& path, std::string_view bytes,
                                        std::uint32_t mode);
base::Result<std::vector<wire::FileInfo>> list_files(const SandboxPtr& sandbox, const std::string& path);
base::Result<wire::FileInfo> stat_file(const SandboxPtr& sandbox, const std::string& path);
base::Status remove_file(const SandboxPtr& sandbox, const std::string& path, bool recursive);
base::Status rename_file(const SandboxPtr& sandbox, const std::string& from, const std::string& to);
base::Status make_directory(const SandboxPtr& sandbox, const std::string& path, std::uint32_t mode, bool parents);

}  // namespace sandforge::engine
