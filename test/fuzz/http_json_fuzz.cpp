// SPDX-License-Identifier: Apache-2.0
// The readers of request bodies; what they accept is written again by the JSON writer.
#include <cstddef>
#include <cstdint>
#include <string>

#include "server/base64.hpp"
#include "server/json_in.hpp"
#include "server/json_out.hpp"

using namespace sandforge::server;

namespace {

template <typename Read>
void attempt(const std::string& json, Read&& read) {
  std::string copy = json;
  try {
    read(copy);
  } catch (const sandforge::InvalidArgument&) {
    // The one way to refuse.
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string json(reinterpret_cast<const char*>(data), size);
  attempt(json, [](std::string& text) { read_create_body(text); });
  attempt(json, [](std::string& text) { read_exec_body(text); });
  attempt(json, [](std::string& text) { read_mkdir_body(text); });
  attempt(json, [](std::string& text) { read_move_body(text); });
  attempt(json, [](std::string& text) {
    const WriteBody body = read_write_body(text);
    std::string encoded;
    append_base64(encoded, body.data);
    if (decode_base64(encoded) != body.data) __builtin_trap();
  });
  // Whatever bytes go in, the writer's text is JSON that the reader takes.
  std::string written = JsonWriter().begin_object().field("cwd", json).end_object().take();
  attempt(written, [](std::string& text) { read_mkdir_body(text); });
  return 0;
}
