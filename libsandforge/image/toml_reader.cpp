// SPDX-License-Identifier: Apache-2.0
#include "image/toml_reader.hpp"

#include <fmt/format.h>

#include <stdexcept>

namespace {
[[noreturn]] void toml_assertion_failed() { throw std::logic_error("cannot be parsed"); }
}  // namespace

// The headers alone, not the packaged library: its assertions are gone, and what they stand for is undefined then. Here
// they throw, as other errors of the parser do.
#undef NDEBUG
#undef TOML_SHARED_LIB
#undef TOML_HEADER_ONLY
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 1
#define TOML_ASSERT(expression) \
  if (!(expression)) toml_assertion_failed()
#include <toml++/toml.h>

#include <algorithm>

namespace sandforge::image {

namespace {

base::Error invalid(std::string_view name, const toml::source_position& place, std::string_view text) {
  return base::make_error(base::Code::InvalidArgument, "invalid_toml",
                          fmt::format("{}: line {}, column {}: {}", name, place.line, place.column, text));
}

const toml::table& as_table(const void* table) { return *static_cast<const toml::table*>(table); }

// Where a table stands, for what is missing in it; the root has no place of its own.
toml::source_position place_of(const toml::table& table) {
  const auto place = table.source().begin;
  return place.line == 0 ? toml::source_position{1, 1} : place;
}

}  // namespace

struct TomlDocument::Tree {
  toml::table table;
  std::string name;
};

TomlDocument::TomlDocument(std::unique_ptr<Tree> tree) : tree_(std::move(tree)) {}
TomlDocument::TomlDocument(TomlDocument&&) noexcept = default;
TomlDocument::~TomlDocument() = default;
TomlTable TomlDocument::top() const { return {&tree_->table, &tree_->name}; }

base::Result<TomlDocument> TomlDocument::parse(std::string_view text, std::string name) {
  toml::source_position place{1, 1};
  for (const char c : text) {
    // toml++ 3.3 has undefined behaviour for most other characters where it looks for white space.
    if (static_cast<unsigned char>(c) >= 0x80) {
      return invalid(name, place, "a character that is not ASCII; in strings write \\uXXXX for it");
    }
    place.column = c == '\n' ? 1 : place.column + 1;
    if (c == '\n') ++place.line;
  }
  try {
    auto tree = std::make_unique<Tree>(Tree{toml::parse(text), std::move(name)});
    return TomlDocument(std::move(tree));
  } catch (const toml::parse_error& error) {
    return invalid(name, error.source().begin, error.description());
  } catch (const std::logic_error& error) {
    return invalid(name, {1, 1}, error.what());
  }
}

base::Error TomlTable::error_at(std::string_view key, std::string_view text) const {
  const toml::table& table = as_table(table_);
  const toml::node* node = table.get(key);
  const auto place = node == nullptr ? place_of(table) : node->source().begin;
  return invalid(*name_, place, fmt::format("\"{}\" {}", key, text));
}

bool TomlTable::has(std::string_view key) const { return as_table(table_).contains(key); }

base::Status TomlTable::only(std::initializer_list<std::string_view> known) const {
  for (const auto& [key, node] : as_table(table_)) {
    if (std::find(known.begin(), known.end(), key.str()) != known.end()) continue;
    std::string all;
    for (const std::string_view name : known) all += fmt::format("{}{}", all.empty() ? "" : ", ", name);
    return invalid(*name_, key.source().begin, fmt::format("unknown key \"{}\"; known here: {}", key.str(), all));
  }
  return {};
}

base::Result<std::string> TomlTable::string(std::string_view key) const {
  const toml::node* node = as_table(table_).get(key);
  if (node == nullptr) return std::string();
  const auto* value = node->as_string();
  if (value == nullptr) return error_at(key, "must be a string");
  return value->get();
}

base::Result<std::vector<std::string>> TomlTable::strings(std::string_view key) const {
  std::vector<std::string> values;
  const toml::node* node = as_table(table_).get(key);
  if (node == nullptr) return values;
  const toml::array* array = node->as_array();
  if (array == nullptr) return error_at(key, "must be an array of strings");
  for (const toml::node& element : *array) {
    const auto* value = element.as_string();
    if (value == nullptr) return invalid(*name_, element.source().begin, fmt::format("\"{}\" must hold strings", key));
    values.push_back(value->get());
  }
  return values;
}

base::Result<std::vector<TomlTable>> TomlTable::tables(std::string_view key) const {
  std::vector<TomlTable> values;
  const toml::node* node = as_table(table_).get(key);
  if (node == nullptr) return values;
  const toml::array* array = node->as_array();
  if (array == nullptr) return error_at(key, "must be an array of tables");
  for (const toml::node& element : *array) {
    const toml::table* value = element.as_table();
    if (value == nullptr) return invalid(*name_, element.source().begin, fmt::format("\"{}\" must hold tables", key));
    values.push_back(TomlTable(value, name_));
  }
  return values;
}

base::Result<std::string> TomlTable::required_string(std::string_view key) const {
  if (!has(key)) return error_at(key, "is missing");
  return string(key);
}

base::Result<std::int64_t> TomlTable::required_integer(std::string_view key) const {
  const toml::node* node = as_table(table_).get(key);
  if (node == nullptr) return error_at(key, "is missing");
  const auto* value = node->as_integer();
  if (value == nullptr) return error_at(key, "must be an integer");
  return value->get();
}

base::Result<TomlTable> TomlTable::required_table(std::string_view key) const {
  const toml::node* node = as_table(table_).get(key);
  if (node == nullptr) return error_at(key, "is missing");
  const toml::table* value = node->as_table();
  if (value == nullptr) return error_at(key, "must be a table");
  return TomlTable(value, name_);
}

}  // namespace sandforge::image
