// SPDX-License-Identifier: Apache-2.0
#include "backend/fake/files.hpp"

#include <algorithm>
#include <chrono>
#include <vector>

namespace sandforge::backend::fake {
namespace {

constexpr std::int64_t kNsPerSecond = 1'000'000'000;

base::Error fault(std::string_view path, int number) { return base::os_error(path, number); }

// The components of an absolute path, "." and ".." resolved; an errno when it is none.
int split(std::string_view path, std::vector<std::string>& parts) {
  if (path.empty()) return ENOENT;
  if (path.front() != '/' || path.find('\0') != path.npos) return EINVAL;
  if (path.size() > limits::kPathMax) return ENAMETOOLONG;
  while (!path.empty()) {
    const std::size_t end = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, end);
    path.remove_prefix(std::min(end + 1, path.size()));
    if (part.empty() || part == ".") continue;
    if (part.size() > 255) return ENAMETOOLONG;
    if (part != "..") {
      parts.emplace_back(part);
    } else if (!parts.empty()) {
      parts.pop_back();
    }
  }
  return 0;
}

}  // namespace

std::string absolute_path(std::string_view cwd, std::string_view path) {
  if (!path.empty() && path.front() == '/') return std::string(path);
  return std::string(cwd) + "/" + std::string(path);
}

FileTree::FileTree() : root_(make_node(S_IFDIR | 0755)) {
  for (const char* path : {"/dev", "/etc", "/home", "/root", "/tmp", "/var", "/workspace"}) {
    (void)make_directory(path, 0755, false);
  }
  find("/tmp").value()->mode = S_IFDIR | 01777;
  find("/root").value()->mode = S_IFDIR | 0700;
  const NodePtr dev = find("/dev").value();
  dev->children["null"] = make_node(S_IFCHR | 0666);
  dev->children["zero"] = make_node(S_IFCHR | 0666);
  (void)replace("/etc/hostname", 0644, "fake\n");
  (void)replace("/etc/os-release", 0644, "NAME=\"Sandforge fake guest\"\nID=sandforge-fake\n");
}

NodePtr FileTree::make_node(std::uint32_t mode) {
  auto node = std::make_shared<Node>(usage_, mode);
  node->modified_ns = now_ns();
  return node;
}

std::int64_t FileTree::now_ns() const {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count() + clock_offset_ns_;
}

base::Status FileTree::set_clock(std::int64_t realtime_ns) {
  // SPEC: Linux takes no time before 1970, and none less than 30 years before its clock's end.
  constexpr std::int64_t kLatest = INT64_MAX - std::int64_t{30} * 365 * 24 * 3600 * 1'000'000'000;
  if (realtime_ns < 0 || realtime_ns > kLatest) {
    return base::make_error(base::Code::InvalidArgument, {}, "the clock cannot be set to this time");
  }
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  clock_offset_ns_ = realtime_ns - std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
  return {};
}

base::Result<NodePtr> FileTree::find(std::string_view path) const {
  std::vector<std::string> parts;
  if (const int number = split(path, parts)) return fault(path, number);
  NodePtr node = root_;
  for (const std::string& part : parts) {
    if (!node->is_directory()) return fault(path, ENOTDIR);
    const auto child = node->children.find(part);
    if (child == node->children.end()) return fault(path, ENOENT);
    node = child->second;
  }
  return node;
}

base::Result<FileTree::Place> FileTree::locate(std::string_view path, bool make_parents) {
  std::vector<std::string> parts;
  if (const int number = split(path, parts)) return fault(path, number);
  if (parts.empty()) return Place{nullptr, {}, root_};
  NodePtr node = root_;
  for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
    if (!node->is_directory()) return fault(path, ENOTDIR);
    NodePtr& child = node->children[parts[i]];
    if (!child) {
      if (!make_parents || usage_->nodes >= limits::kFakeNodesMax) {
        node->children.erase(parts[i]);
        return fault(path, make_parents ? ENOSPC : ENOENT);
      }
      child = make_node(S_IFDIR | 0755);
    }
    node = child;
  }
  if (!node->is_directory()) return fault(path, ENOTDIR);
  const auto found = node->children.find(parts.back());
  return Place{node, parts.back(), found == node->children.end() ? nullptr : found->second};
}

base::Result<NodePtr> FileTree::create(std::string_view path, bool parents) {
  SANDFORGE_TRY(Place place, locate(path, parents));
  if (place.node) {
    if (place.node->is_directory()) return fault(path, EISDIR);
    usage_->bytes -= place.node->content.size();
    place.node->content.clear();
    place.node->modified_ns = now_ns();
    return place.node;
  }
  if (usage_->nodes >= limits::kFakeNodesMax) return fault(path, ENOSPC);
  return place.parent->children[place.name] = make_node(S_IFREG | 0644);
}

base::Status FileTree::append(Node& file, std::string_view bytes) {
  if (!file.is_file()) return {};  // the two devices swallow all
  if (bytes.size() > limits::kFakeFileBytesMax - std::min(usage_->bytes, limits::kFakeFileBytesMax)) {
    return fault("write", ENOSPC);
  }
  usage_->bytes += bytes.size();
  file.content.append(bytes);
  file.modified_ns = now_ns();
  return {};
}

base::Result<NodePtr> FileTree::replace(std::string_view path, std::uint32_t mode, std::string content) {
  SANDFORGE_TRY(Place place, locate(path, true));
  if (place.node && place.node->is_directory()) return fault(path, EISDIR);
  if (place.node && !place.node->is_file()) return fault(path, EACCES);
  if (usage_->nodes >= limits::kFakeNodesMax ||
      content.size() > limits::kFakeFileBytesMax - std::min(usage_->bytes, limits::kFakeFileBytesMax)) {
    return fault(path, ENOSPC);
  }
  if (mode == 0) mode = place.node ? place.node->mode : 0644;
  NodePtr file = make_node(S_IFREG | (mode & 07777));
  usage_->bytes += content.size();
  file->content = std::move(content);
  return place.parent->children[place.name] = std::move(file);
}

base::Status FileTree::remove(std::string_view path, bool recursive) {
  SANDFORGE_TRY(Place place, locate(path, false));
  if (!place.node) return fault(path, ENOENT);
  if (!place.parent) return fault(path, EBUSY);
  if (place.node->is_directory() && !place.node->children.empty() && !recursive) return fault(path, ENOTEMPTY);
  place.parent->children.erase(place.name);
  return {};
}

base::Status FileTree::rename(std::string_view from, std::string_view to) {
  SANDFORGE_TRY(Place source, locate(from, false));
  if (!source.node) return fault(from, ENOENT);
  SANDFORGE_TRY(Place target, locate(to, false));
  if (!source.parent || !target.parent) return fault(from, EBUSY);
  if (source.node == target.node) return {};
  if (target.node) {
    if (target.node->is_directory() && !source.node->is_directory()) return fault(to, EISDIR);
    if (!target.node->is_directory() && source.node->is_directory()) return fault(to, ENOTDIR);
    if (!target.node->children.empty()) return fault(to, ENOTEMPTY);
  }
  // A directory does not go into itself.
  std::vector<std::string> above, below;
  (void)split(from, above), (void)split(to, below);
  if (above.size() <= below.size() && std::equal(above.begin(), above.end(), below.begin())) {
    return fault(from, EINVAL);
  }
  source.parent->children.erase(source.name);
  target.parent->children[target.name] = source.node;
  return {};
}

base::Status FileTree::make_directory(std::string_view path, std::uint32_t mode, bool parents) {
  SANDFORGE_TRY(Place place, locate(path, parents));
  if (place.node) {
    if (parents && place.node->is_directory()) return {};
    return fault(path, EEXIST);
  }
  if (usage_->nodes >= limits::kFakeNodesMax) return fault(path, ENOSPC);
  place.parent->children[place.name] = make_node(S_IFDIR | (mode == 0 ? 0755 : mode & 07777));
  return {};
}

wire::FileInfo FileTree::info(std::string_view path, const Node& node) {
  std::vector<std::string> parts;
  (void)split(path, parts);
  wire::FileInfo info;
  info.name = parts.empty() ? "/" : parts.back();
  info.length = node.content.size();
  info.mode = node.mode;
  std::int64_t seconds = node.modified_ns / kNsPerSecond;
  if (node.modified_ns % kNsPerSecond < 0) --seconds;
  info.modified_at = seconds;
  info.modified_nsec = static_cast<std::uint32_t>(node.modified_ns - seconds * kNsPerSecond);
  return info;
}

}  // namespace sandforge::backend::fake
