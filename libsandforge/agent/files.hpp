// SPDX-License-Identifier: Apache-2.0
// Bodies of the file operations: plain blocking code for worker threads. Paths are resolved inside the guest's root.
#pragma once

#include <sys/stat.h>

#include <string_view>

#include "agent/file_operation.hpp"
#include "wire/messages.hpp"

namespace sandforge::agent {

// What a stat tells, under the last name of `path`.
wire::FileInfo info_of(std::string_view path, const struct stat& info);

// Each gives the encoded body of its result (see the table in wire/messages.hpp).
base::Result<std::string> read_file(FileJob& job, const wire::FileReadRequest& request);
base::Result<std::string> write_file(FileJob& job, const wire::FileWriteRequest& request);
base::Result<std::string> list_directory(FileJob& job, const wire::PathRequest& request);
base::Result<std::string> stat_path(FileJob& job, const wire::PathRequest& request);
base::Result<std::string> remove_path(FileJob& job, const wire::PathRequest& request);
base::Result<std::string> rename_path(FileJob& job, const wire::RenameRequest& request);
base::Result<std::string> make_directory(FileJob& job, const wire::PathRequest& request);

}  // namespace sandforge::agent
