// SPDX-License-Identifier: Apache-2.0
// Readers of request bodies. Tolerant in keys (unknown ones ignored, snake_case and camelCase, null is absent, the last
// duplicate wins), strict in types.
#pragma once

#include <sandforge/sandbox.hpp>

#include <cstdint>
#include <string>

namespace sandforge::server {

// The reason of the InvalidArgument that every reader here throws; its text begins "invalid request body: ".
inline constexpr const char* kInvalidBody = "invalid_body";

struct WriteBody {
  std::string path;  // empty when absent
  std::string data;
  std::uint32_t mode = 0;
};
struct MkdirBody {
  std::string path;
  std::uint32_t mode = 0;
  bool parents = false;
};
struct MoveBody {
  std::string from, to;
};

// `json` is not changed but may be reallocated (the parser wants room behind the text).
SandboxSpec read_create_body(std::string& json);
// A create body, or only the object that is "spec" in one.
SandboxSpec read_spec_text(std::string& json);
// Standard input, if any, is in stdin_data.
ExecSpec read_exec_body(std::string& json);
WriteBody read_write_body(std::string& json);
MkdirBody read_mkdir_body(std::string& json);
MoveBody read_move_body(std::string& json);
Mount read_mount_body(std::string& json);

}  // namespace sandforge::server
