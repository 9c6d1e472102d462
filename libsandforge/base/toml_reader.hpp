// SPDX-License-Identifier: Apache-2.0
// TomlDocument, TomlTable: typed reads from TOML with errors that name the file, line and column. Hides toml++, which
// is slow to compile, from everything else.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.hpp"

namespace sandforge::base {

// A borrowed table of a document, which must outlive it. All errors are invalid_argument "invalid_toml".
class TomlTable {
 public:
  // Empty or 0 when the key is absent; an error when it has another type.
  Result<std::string> string(std::string_view key) const;
  Result<std::vector<std::string>> strings(std::string_view key) const;
  // Tables of an array of tables (`[[key]]`), in order.
  Result<std::vector<TomlTable>> tables(std::string_view key) const;
  // Empty when the key is absent.
  Result<std::optional<std::int64_t>> integer(std::string_view key) const;
  Result<std::optional<bool>> boolean(std::string_view key) const;
  Result<std::optional<TomlTable>> table(std::string_view key) const;
  Result<std::string> required_string(std::string_view key) const;
  Result<std::int64_t> required_integer(std::string_view key) const;
  Result<TomlTable> required_table(std::string_view key) const;
  bool has(std::string_view key) const;
  // Where the value of `key` begins, counted from 1; 0 when it is absent.
  std::uint32_t line_of(std::string_view key) const;
  // Every key must be among `known`; the error about one that is not proposes the nearest.
  Status only(std::initializer_list<std::string_view> known) const;
  // An error about the value of `key`, with its place.
  Error error_at(std::string_view key, std::string_view text) const;
  // An error about one element of the array `key`, which has it.
  Error error_in(std::string_view key, std::size_t index, std::string_view text) const;

 private:
  friend class TomlDocument;
  TomlTable(const void* table, const std::string* name) : table_(table), name_(name) {}
  const void* table_;        // toml::table
  const std::string* name_;  // of the document
};

class TomlDocument {
 public:
  // ASCII only. `name` stands in front of every error: a path, or what the text is.
  static Result<TomlDocument> parse(std::string_view text, std::string name);
  TomlDocument(TomlDocument&&) noexcept;
  ~TomlDocument();

  // Valid while the document lives and is not moved from.
  TomlTable top() const;

 private:
  struct Tree;
  explicit TomlDocument(std::unique_ptr<Tree> tree);
  std::unique_ptr<Tree> tree_;
};

}  // namespace sandforge::base
