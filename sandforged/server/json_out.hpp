// SPDX-License-Identifier: Apache-2.0
// JsonWriter: builds one JSON text. The output is always valid UTF-8, whatever bytes go in.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sandforge::server {

// Calls must nest properly; the writer puts the commas. Not thread-safe.
class JsonWriter {
 public:
  JsonWriter& begin_object() { return open('{'); }
  JsonWriter& end_object() { return close('}'); }
  JsonWriter& begin_array() { return open('['); }
  JsonWriter& end_array() { return close(']'); }
  JsonWriter& key(std::string_view name);

  // Invalid UTF-8 becomes U+FFFD, once for each maximal ill-formed part.
  JsonWriter& text(std::string_view value);
  JsonWriter& integer(std::int64_t value);
  JsonWriter& unsigned_integer(std::uint64_t value);
  JsonWriter& boolean(bool value);
  // Bytes as [1,2,255].
  JsonWriter& byte_array(std::string_view bytes);
  // Bytes as a base64 string.
  JsonWriter& base64(std::string_view bytes);

  JsonWriter& field(std::string_view name, std::string_view value) { return key(name).text(value); }
  JsonWriter& field(std::string_view name, const char* value) { return key(name).text(value); }
  JsonWriter& field(std::string_view name, const std::string& value) { return key(name).text(value); }
  JsonWriter& field(std::string_view name, std::int64_t value) { return key(name).integer(value); }
  JsonWriter& field(std::string_view name, std::int32_t value) { return key(name).integer(value); }
  JsonWriter& field(std::string_view name, std::uint64_t value) { return key(name).unsigned_integer(value); }
  JsonWriter& field(std::string_view name, std::uint32_t value) { return key(name).unsigned_integer(value); }
  JsonWriter& field(std::string_view name, bool value) { return key(name).boolean(value); }

  // The text, with the newline that ends every answer.
  std::string take();

 private:
  JsonWriter& open(char bracket);
  JsonWriter& close(char bracket);
  void comma();

  std::string out_;
  bool need_comma_ = false;
};

// Appends `bytes` with invalid UTF-8 replaced by U+FFFD; `escape` as the inside of a JSON string.
void append_utf8(std::string& out, std::string_view bytes, bool escape);

}  // namespace sandforge::server
