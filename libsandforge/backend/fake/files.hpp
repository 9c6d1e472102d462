// SPDX-License-Identifier: Apache-2.0
// FileTree: the in-memory file system of a fake guest. Directories, files and /dev/null and /dev/zero; no links.
// One thread.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "wire/messages.hpp"

namespace sandforge::backend::fake {

struct Usage {
  std::uint64_t bytes = 0;
  std::size_t nodes = 0;
};

struct Node {
  explicit Node(std::shared_ptr<Usage> shared, std::uint32_t st_mode) : mode(st_mode), usage(std::move(shared)) {
    ++usage->nodes;
  }
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
  ~Node() {
    --usage->nodes;
    usage->bytes -= content.size();
  }

  bool is_directory() const noexcept { return S_ISDIR(mode); }
  bool is_file() const noexcept { return S_ISREG(mode); }

  std::uint32_t mode;  // st_mode
  std::int64_t modified_ns = 0;
  std::string content;
  std::map<std::string, std::shared_ptr<Node>, std::less<>> children;
  std::shared_ptr<Usage> usage;
};
// A reader keeps its file alive, whatever happens to the name.
using NodePtr = std::shared_ptr<Node>;

// Paths are absolute; "." and ".." are resolved by text, as there are no links. Errors carry the errno of Linux.
class FileTree {
 public:
  FileTree();

  base::Result<NodePtr> find(std::string_view path) const;
  // An empty file under `path`, new or emptied. With `parents`, missing directories above it are made.
  base::Result<NodePtr> create(std::string_view path, bool parents);
  // Exhausted (ENOSPC) over limits::kFakeFileBytesMax; then nothing was added.
  base::Status append(Node& file, std::string_view bytes);
  // Puts a whole file in the place of whatever file `path` is. `mode` 0: that of the old file, else 0644.
  base::Result<NodePtr> replace(std::string_view path, std::uint32_t mode, std::string content);
  base::Status remove(std::string_view path, bool recursive);
  base::Status rename(std::string_view from, std::string_view to);
  base::Status make_directory(std::string_view path, std::uint32_t mode, bool parents);

  static wire::FileInfo info(std::string_view path, const Node& node);
  std::uint64_t bytes() const noexcept { return usage_->bytes; }
  // Errors: invalid_argument for a time that a kernel would not take either.
  base::Status set_clock(std::int64_t realtime_ns);

 private:
  struct Place {
    NodePtr parent;
    std::string name;  // empty: the root itself
    NodePtr node;      // null: nothing is there
  };
  base::Result<Place> locate(std::string_view path, bool make_parents);
  NodePtr make_node(std::uint32_t mode);
  std::int64_t now_ns() const;

  std::shared_ptr<Usage> usage_ = std::make_shared<Usage>();
  std::int64_t clock_offset_ns_ = 0;
  NodePtr root_;
};

// `path` as seen from `cwd`: absolute.
std::string absolute_path(std::string_view cwd, std::string_view path);

}  // namespace sandforge::backend::fake
