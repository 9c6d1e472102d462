// SPDX-License-Identifier: Apache-2.0
#include "base/toml_reader.hpp"

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

#include "base/nearest_word.hpp"

namespace sandforge::base {

namespace {

Error invalid(std::string_view name, const toml::source_position& place, std::string_view text) {
  return make_error(Code::InvalidArgument, "invalid_toml",
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

Result<TomlDocument> TomlDocument::parse(std::string_view text, std::string name) {
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

Error TomlTable::error_at(std::string_view key, std::string_view text) const {
  const toml::table& table = as_table(table_);
  const toml::node* node = table.get(key);
  const auto place = node == nullptr ? place_of(table) : node->source().begin;
  return invalid(*name_, place, fmt::format("\"{}\" {}", key, text));
}

Error TomlTable::error_in(std::string_view key, std::size_t index, std::string_view text) const {
  const toml::node* node = as_table(table_).get(key);
  const toml::array* array = node == nullptr ? nullptr : node->as_array();
  if (array == nullptr || index >= array->size()) return error_at(key, text);
  return invalid(*name_, array->get(index)->source().begin, fmt::format("\"{}\" {}", key, text));
}

std::uint32_t TomlTable::line_of(std::string_view key) const {
  const toml::node* node = as_table(table_).get(key);
  return node == nullptr ? 0 : node->source().begin.line;
}

bool TomlTable::has(std::string_view key) const { return as_table(table_).contains(key); }

Status TomlTable::only(std::initializer_list<std::string_view> known) const {
  for (const auto& [key, node] : as_table(table_)) {
    if (std::find(known.begin(), known.end(), key.str()) != known.end()) continue;
    std::string all;
    for (const std::string_view name : known) all += fmt::format("{}{}", all.empty() ? "" : ", ", name);
    const std::string_view nearest = nearest_word(key.str(), {known.begin(), known.size()});
    return invalid(*name_, key.source().begin,
                   fmt::format("unknown key \"{}\"{}; known here: {}", key.str(),
                               nearest.empty() ? "" : fmt::format(", did you mean \"{}\"?", nearest), all));
  }
  return {};
}

Result<std::string> TomlTable::string(std::string_view key) const {
  const toml::node* node = as_table(table_).get(key);
  if (node == nullptr) return std::string();
  const auto* value = node->as_string();
  if (value == nullptr) return error_at(key, "must be a string");
  return value->get();
}

Result<std::vector<std::string>> TomlTable::strings(std::string_view key) const {
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

Result<std::vector<TomlTable>> TomlTable::tables(std::string_view key) const {
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

Result<std::optional<std::int64_t>> TomlTable::integer(std::string_view key) const {
  const toml::node* node = as_table(table_).get(key);
  if (node == nullptr) return std::optional<std::int64_t>();
  const auto* value = node->as_integer();
  if (value == nullptr) return error_at(key, "must be an integer");
  return std::optional(value->get());
}

Result<std::optional<bool>> TomlTable::boolean(std::string_view key) const {
  const toml::node* node = as_table(table_).get(key);
  if (node == nullptr) return std::optional<bool>();
  const auto* value = node->as_boolean();
  if (value == nullptr) return error_at(key, "must be true or false");
  return std::optional(value->get());
}

Result<std::optional<TomlTable>> TomlTable::table(std::string_view key) const {
  const toml::node* node = as_table(table_).get(key);
  if (node == nullptr) return std::optional<TomlTable>();
  const toml::table* value = node->as_table();
  if (value == nullptr) return error_at(key, "must be a table");
  return std::optional(TomlTable(value, name_));
}

Result<std::string> TomlTable::required_string(std::string_view key) const {
  if (!has(key)) return error_at(key, "is missing");
  return string(key);
}

Result<std::int64_t> TomlTable::required_integer(std::string_view key) const {
  const toml::node* node = as_table(table_).get(key);
  if (node == nullptr) return error_at(key, "is missing");
  const auto* value = node->as_integer();
  if (value == nullptr) return error_at(key, "must be an integer");
  return value->get();
}

Result<TomlTable> TomlTable::required_table(std::string_view key) const {
  const toml::node* node = as_table(table_).get(key);
  if (node == nullptr) return error_at(key, "is missing");
  const toml::table* value = node->as_table();
  if (value == nullptr) return error_at(key, "must be a table");
  return TomlTable(value, name_);
}

}  // namespace sandforge::base
