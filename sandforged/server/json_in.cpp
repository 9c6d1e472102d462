// SPDX-License-Identifier: Apache-2.0
#include "server/json_in.hpp"

#include <simdjson.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <string_view>
#include <unordered_map>

#include "server/base64.hpp"
#include "server/caps.hpp"

namespace sandforge::server {
namespace {

using simdjson::dom::element;
using simdjson::dom::element_type;

[[noreturn]] void refuse(const std::string& what) {
  throw InvalidArgument(kInvalidBody, "invalid request body: " + what);
}

// Owns the parsed document: elements point into it.
class Document {
 public:
  explicit Document(std::string& json) {
    if (json.empty()) refuse("it is empty, a JSON object is expected");
    if (json.size() > caps::kJsonLargeBytes) turn_ = std::unique_lock(large_documents());
    json.reserve(json.size() + simdjson::SIMDJSON_PADDING);
    if (parser_.allocate(json.size(), caps::kJsonDepth) != simdjson::SUCCESS) refuse("too large");
    // SAFETY: the reserve above gives the parser the readable bytes behind the text that it asks for.
    if (const auto code = parser_.parse(json.data(), json.size(), false).get(whole_); code != simdjson::SUCCESS) {
      refuse(simdjson::error_message(code));
    }
    if (whole_.get(root_) != simdjson::SUCCESS) refuse("a JSON object is expected");
  }
  const simdjson::dom::object& root() const { return root_; }
  const element& whole() const { return whole_; }

 private:
  // A parsed document takes up to twelve times the size of its text, so large ones are parsed one after the other.
  static std::mutex& large_documents() {
    static std::mutex mutex;
    return mutex;
  }

  std::unique_lock<std::mutex> turn_;  // first: given up when the document has been freed
  simdjson::dom::parser parser_;
  element whole_;
  simdjson::dom::object root_;
};

// memoryMb, memoryMB -> memory_mb
std::string snake_case(std::string_view key) {
  std::string out;
  bool after_lower = false;
  for (const char c : key) {
    const bool upper = c >= 'A' && c <= 'Z';
    if (upper && after_lower) out += '_';
    out += upper ? static_cast<char>(c - 'A' + 'a') : c;
    after_lower = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
  }
  return out;
}

std::string in_quotes(std::string_view key) { return "'" + std::string(key) + "'"; }

std::string too_many(std::string_view key) {
  return in_quotes(key) + " has more than " + std::to_string(caps::kJsonEntries) + " entries";
}

// One value with the name it goes by in messages.
struct Value {
  std::string key;
  element json;
  bool is_null() const { return json.is_null(); }
};

void read(const Value& value, std::string& out) {
  std::string_view text;
  if (value.is_null()) {
    out.clear();
    return;
  }
  if (value.json.get(text) != simdjson::SUCCESS) refuse(in_quotes(value.key) + " must be a string");
  if (text.find('\0') != text.npos) refuse(in_quotes(value.key) + " contains a NUL character");
  out = text;
}

void read(const Value& value, bool& out) {
  out = false;
  if (!value.is_null() && value.json.get(out) != simdjson::SUCCESS)
    refuse(in_quotes(value.key) + " must be true or false");
}

void read(const Value& value, std::int64_t& out) {
  constexpr double kExact = 9007199254740992.0;  // 2^53: whole numbers up to here are exact in a double
  out = 0;
  if (value.is_null() || value.json.get(out) == simdjson::SUCCESS) return;
  double number = 0;
  if (value.json.type() != element_type::DOUBLE && value.json.type() != element_type::UINT64) {
    refuse(in_quotes(value.key) + " must be a whole number");
  }
  if (value.json.get(number) != simdjson::SUCCESS || std::floor(number) != number || std::fabs(number) > kExact) {
    refuse(in_quotes(value.key) + " must be a whole number of at most 64 bits");
  }
  out = static_cast<std::int64_t>(number);
}

void read(const Value& value, std::uint32_t& out) {
  std::int64_t number = 0;
  read(value, number);
  if (number < 0 || number > std::numeric_limits<std::uint32_t>::max())
    refuse(in_quotes(value.key) + " is out of range");
  out = static_cast<std::uint32_t>(number);
}

void read(const Value& value, std::vector<std::string>& out) {
  out.clear();
  if (value.is_null()) return;
  simdjson::dom::array array;
  if (value.json.get(array) != simdjson::SUCCESS) refuse(in_quotes(value.key) + " must be an array of strings");
  for (const element item : array) {
    if (out.size() == caps::kJsonEntries) refuse(too_many(value.key));
    if (!item.is_string()) refuse(in_quotes(value.key) + " must be an array of strings");
    read(Value{value.key, item}, out.emplace_back());
  }
}

void read(const Value& value, std::vector<std::pair<std::string, std::string>>& out) {
  out.clear();
  if (value.is_null()) return;
  simdjson::dom::object object;
  if (value.json.get(object) != simdjson::SUCCESS) refuse(in_quotes(value.key) + " must be an object of strings");
  std::unordered_map<std::string, std::size_t> places;  // in `out`, by name
  std::size_t fields = 0;
  for (const auto field : object) {
    if (++fields > caps::kJsonEntries) refuse(too_many(value.key));
    if (field.value.is_null()) continue;
    const std::string key(field.key);
    if (key.empty() || key.find('=') != key.npos || key.find('\0') != key.npos) {
      refuse("'" + value.key + "' has a name that is empty or contains '=' or NUL");
    }
    std::string text;
    read(Value{value.key + "." + key, field.value}, text);
    const auto [place, is_new] = places.emplace(key, out.size());
    if (is_new) {
      out.emplace_back(key, std::move(text));
    } else {
      out[place->second].second = std::move(text);
    }
  }
}

// Bytes: a base64 string, or an array of 0..255.
void read_bytes(const Value& value, std::string& out) {
  out.clear();
  if (value.is_null()) return;
  std::string_view text;
  simdjson::dom::array array;
  if (value.json.get(text) == simdjson::SUCCESS) {
    auto bytes = decode_base64(text);
    if (!bytes) refuse(in_quotes(value.key) + " is not valid base64 (standard alphabet, padded)");
    out = *std::move(bytes);
  } else if (value.json.get(array) == simdjson::SUCCESS) {
    for (const element item : array) {
      std::int64_t byte = 0;
      if (item.get(byte) != simdjson::SUCCESS || byte < 0 || byte > 255) {
        refuse(in_quotes(value.key) + " must hold whole numbers from 0 to 255");
      }
      out += static_cast<char>(static_cast<unsigned char>(byte));
    }
  } else {
    refuse(in_quotes(value.key) + " must be a base64 string or an array of numbers from 0 to 255");
  }
}

void read(const simdjson::dom::object& object, Mount& out) {
  for (const auto field : object) {
    const Value item{snake_case(field.key), field.value};
    if (item.key == "host_path") read(item, out.host_path);
    if (item.key == "guest_path") read(item, out.guest_path);
    if (item.key == "read_only") read(item, out.read_only);
  }
}

void read(const Value& value, Mount& out) {
  simdjson::dom::object object;
  if (value.json.get(object) != simdjson::SUCCESS) refuse("'mounts' must be an array of objects");
  read(object, out);
}

void read(const Value& value, std::vector<Mount>& out) {
  out.clear();
  if (value.is_null()) return;
  simdjson::dom::array array;
  if (value.json.get(array) != simdjson::SUCCESS) refuse("'mounts' must be an array of objects");
  for (const element item : array) {
    if (out.size() == caps::kJsonEntries) refuse(too_many(value.key));
    read(Value{"mounts", item}, out.emplace_back());
  }
}

void read(const Value& value, SandboxSpec& out) {
  const std::string id = out.id;
  out = {};
  out.id = id;
  if (value.is_null()) return;
  simdjson::dom::object object;
  if (value.json.get(object) != simdjson::SUCCESS) refuse("'spec' must be an object");
  for (const auto field : object) {
    const Value item{snake_case(field.key), field.value};
    if (item.key == "backend") read(item, out.backend);
    if (item.key == "image") read(item, out.image);
    if (item.key == "cpu") read(item, out.cpu);
    if (item.key == "memory_mb") read(item, out.memory_mb);
    if (item.key == "disk_gb") read(item, out.disk_gb);
    if (item.key == "timeout_sec") read(item, out.timeout_sec);
    if (item.key == "network_mode") read(item, out.network_mode);
    if (item.key == "task_isolation") read(item, out.task_isolation);
    if (item.key == "mounts") read(item, out.mounts);
  }
}

std::chrono::milliseconds seconds_as_ms(std::int64_t seconds) {
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max() / 1000;
  return std::chrono::milliseconds(std::clamp(seconds, -kMax, kMax) * 1000);  // the library refuses nonsense
}

}  // namespace

SandboxSpec read_create_body(std::string& json) {
  const Document document(json);
  SandboxSpec spec;
  for (const auto field : document.root()) {
    const Value item{snake_case(field.key), field.value};
    if (item.key == "id") read(item, spec.id);
    if (item.key == "spec") read(item, spec);
  }
  return spec;
}

SandboxSpec read_spec_text(std::string& json) {
  {
    const Document document(json);
    element spec;
    if (document.root().at_key("spec").get(spec) != simdjson::SUCCESS) {
      SandboxSpec out;
      read(Value{"spec", document.whole()}, out);
      return out;
    }
  }
  return read_create_body(json);
}

ExecSpec read_exec_body(std::string& json) {
  const Document document(json);
  ExecSpec spec;
  for (const auto field : document.root()) {
    const Value item{snake_case(field.key), field.value};
    if (item.key == "command") read(item, spec.argv);
    if (item.key == "env") read(item, spec.env);
    if (item.key == "cwd") read(item, spec.cwd);
    if (item.key == "user") read(item, spec.user);
    if (item.key == "stdin") read_bytes(item, spec.stdin_data);
    if (item.key == "timeout_sec") {
      std::int64_t seconds = 0;
      read(item, seconds);
      spec.timeout = seconds_as_ms(seconds);
    }
  }
  return spec;
}

WriteBody read_write_body(std::string& json) {
  const Document document(json);
  WriteBody body;
  for (const auto field : document.root()) {
    const Value item{snake_case(field.key), field.value};
    if (item.key == "guest_path" || item.key == "path") read(item, body.path);
    if (item.key == "data") read_bytes(item, body.data);
    if (item.key == "mode") read(item, body.mode);
  }
  return body;
}

MkdirBody read_mkdir_body(std::string& json) {
  const Document document(json);
  MkdirBody body;
  for (const auto field : document.root()) {
    const Value item{snake_case(field.key), field.value};
    if (item.key == "guest_path" || item.key == "path") read(item, body.path);
    if (item.key == "mode") read(item, body.mode);
    if (item.key == "parents") read(item, body.parents);
  }
  return body;
}

MoveBody read_move_body(std::string& json) {
  const Document document(json);
  MoveBody body;
  for (const auto field : document.root()) {
    const Value item{snake_case(field.key), field.value};
    if (item.key == "from") read(item, body.from);
    if (item.key == "to") read(item, body.to);
  }
  return body;
}

Mount read_mount_body(std::string& json) {
  const Document document(json);
  Mount mount;
  read(document.root(), mount);
  return mount;
}

}  // namespace sandforge::server
