// SPDX-License-Identifier: Apache-2.0
// Files of the guest in the C ABI.
#include "capi/guard.hpp"
#include "capi/handles.hpp"

namespace sandforge::capi {
namespace {

struct OwnedFileInfo : Owned<sandforge_file_info> {
  wire::FileInfo info;
  std::string path_text;

  OwnedFileInfo(wire::FileInfo value, std::string full_path) : info(std::move(value)), path_text(std::move(full_path)) {
    name = info.name.c_str();
    path = path_text.c_str();
    length = info.length;
    mode = info.mode;
    uid = info.uid;
    gid = info.gid;
    modified_at = info.modified_at;
    modified_nsec = info.modified_nsec;
    link_target = info.link_target.c_str();
  }
};
using OwnedFileList = OwnedList<sandforge_file_list, OwnedFileInfo>;

struct OwnedBuffer : Owned<sandforge_buffer> {
  std::string bytes;

  explicit OwnedBuffer(std::string value) : bytes(std::move(value)) {
    data = reinterpret_cast<const std::uint8_t*>(bytes.data());
    length = bytes.size();
  }
};

std::string joined(std::string folder, const std::string& name) {
  if (folder.empty() || folder.back() != '/') folder += '/';
  return folder + name;
}

base::Error wrong_direction(const char* text) {
  return base::make_error(base::Code::InvalidArgument, "wrong_direction", text);
}

}  // namespace
}  // namespace sandforge::capi

using namespace sandforge::capi;
namespace base = sandforge::base;
namespace engine = sandforge::engine;

// One of the two is set.
struct sandforge_file {
  std::shared_ptr<engine::FileReader> reader;
  std::shared_ptr<engine::FileWriter> writer;
  std::unique_ptr<OwnedFileInfo> info;
  bool finished = false;  // of a writer: nothing is left to undo
};

extern "C" {

sandforge_code sandforge_sandbox_read_file(sandforge_sandbox* sandbox, const char* path, uint64_t max_length,
                                           sandforge_buffer** buffer, sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(sandbox);
    SANDFORGE_NEEDS(path);
    SANDFORGE_NEEDS(buffer);
    SANDFORGE_TRY(std::string bytes, engine::read_file(sandbox->sandbox, path, max_length));
    *buffer = std::make_unique<OwnedBuffer>(std::move(bytes)).release();
    return {};
  });
}
void sandforge_buffer_free(sandforge_buffer* buffer) { delete static_cast<OwnedBuffer*>(buffer); }

sandforge_code sandforge_sandbox_write_file(sandforge_sandbox* sandbox, const char* path, const void* data,
                                            size_t length, uint32_t mode, sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(sandbox);
    SANDFORGE_NEEDS(path);
    if (length > 0) SANDFORGE_NEEDS(data);
    SANDFORGE_TRY_STATUS(engine::write_file(sandbox->sandbox, path, {static_cast<const char*>(data), length}, mode));
    return {};
  });
}

sandforge_code sandforge_sandbox_list_files(sandforge_sandbox* sandbox, const char* path, sandforge_file_list** list,
                                            sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(sandbox);
    SANDFORGE_NEEDS(path);
    SANDFORGE_NEEDS(list);
    SANDFORGE_TRY(auto entries, engine::list_files(sandbox->sandbox, path));
    auto result = std::make_unique<OwnedFileList>();
    for (auto& entry : entries) {
      std::string full = joined(path, entry.name);
      result->owned.push_back(std::make_unique<OwnedFileInfo>(std::move(entry), std::move(full)));
    }
    result->seal();
    *list = result.release();
    return {};
  });
}
void sandforge_file_list_free(sandforge_file_list* list) { delete static_cast<OwnedFileList*>(list); }

sandforge_code sandforge_sandbox_stat(sandforge_sandbox* sandbox, const char* path, sandforge_file_info** info,
                                      sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(sandbox);
    SANDFORGE_NEEDS(path);
    SANDFORGE_NEEDS(info);
    SANDFORGE_TRY(auto found, engine::stat_file(sandbox->sandbox, path));
    *info = std::make_unique<OwnedFileInfo>(std::move(found), path).release();
    return {};
  });
}
void sandforge_file_info_free(sandforge_file_info* info) { delete static_cast<OwnedFileInfo*>(info); }

sandforge_code sandforge_sandbox_remove(sandforge_sandbox* sandbox, const char* path, uint32_t recursive,
                                        sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(sandbox);
    SANDFORGE_NEEDS(path);
    return engine::remove_file(sandbox->sandbox, path, recursive != 0);
  });
}

sandforge_code sandforge_sandbox_rename(sandforge_sandbox* sandbox, const char* from, const char* to,
                                        sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(sandbox);
    SANDFORGE_NEEDS(from);
    SANDFORGE_NEEDS(to);
    return engine::rename_file(sandbox->sandbox, from, to);
  });
}

sandforge_code sandforge_sandbox_mkdir(sandforge_sandbox* sandbox, const char* path, uint32_t mode, uint32_t parents,
                                       sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(sandbox);
    SANDFORGE_NEEDS(path);
    return engine::make_directory(sandbox->sandbox, path, mode, parents != 0);
  });
}

sandforge_code sandforge_sandbox_open_read(sandforge_sandbox* sandbox, const char* path, uint64_t offset,
                                           uint64_t length, sandforge_file** file, sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(sandbox);
    SANDFORGE_NEEDS(path);
    SANDFORGE_NEEDS(file);
    SANDFORGE_TRY(auto opened, engine::open_read(sandbox->sandbox, path, offset, length));
    auto handle = std::make_unique<sandforge_file>();
    handle->reader = std::move(opened.reader);
    handle->info = std::make_unique<OwnedFileInfo>(std::move(opened.info), path);
    *file = handle.release();
    return {};
  });
}

sandforge_code sandforge_sandbox_open_write(sandforge_sandbox* sandbox, const char* path, uint32_t mode,
                                            sandforge_file** file, sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(sandbox);
    SANDFORGE_NEEDS(path);
    SANDFORGE_NEEDS(file);
    auto handle = std::make_unique<sandforge_file>();
    SANDFORGE_TRY(handle->writer, engine::open_write(sandbox->sandbox, path, mode));
    *file = handle.release();
    return {};
  });
}

sandforge_code sandforge_file_read(sandforge_file* file, void* buffer, size_t capacity, size_t* count,
                                   sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(file);
    SANDFORGE_NEEDS(buffer);
    SANDFORGE_NEEDS(count);
    if (!file->reader) return wrong_direction("the file is open for writing");
    if (capacity == 0) return base::make_error(base::Code::InvalidArgument, "no_capacity_given", "read of no bytes");
    SANDFORGE_TRY(*count, file->reader->read(buffer, capacity));
    return {};
  });
}

sandforge_code sandforge_file_write(sandforge_file* file, const void* data, size_t length, sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(file);
    if (length > 0) SANDFORGE_NEEDS(data);
    if (!file->writer) return wrong_direction("the file is open for reading");
    return file->writer->write({static_cast<const char*>(data), length});
  });
}

const sandforge_file_info* sandforge_file_get_info(const sandforge_file* file) {
  return file == nullptr ? nullptr : file->info.get();
}

sandforge_code sandforge_file_finish(sandforge_file* file, sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(file);
    if (!file->writer) return wrong_direction("the file is open for reading");
    SANDFORGE_TRY_STATUS(file->writer->finish_write());
    file->finished = true;
    return {};
  });
}

void sandforge_file_free(sandforge_file* file) {
  if (file == nullptr) return;
  guarded_quietly([&] {
    if (file->reader) file->reader->abandon();
    if (file->writer && !file->finished) file->writer->abandon();
  });
  delete file;
}

}  // extern "C"
