// SPDX-License-Identifier: Apache-2.0
#include "fsd/tree/inode_table.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

namespace sandforge::fsd {

std::size_t InodeTable::KeyHash::operator()(const Key& key) const noexcept {
  // Numbers are the host's; the guest does not choose them.
  std::uint64_t mix = key.number * 0x9e3779b97f4a7c15u ^ key.device;
  mix = (mix ^ mix >> 29) * 0xbf58476d1ce4e5b9u ^ key.mount;
  return static_cast<std::size_t>(mix ^ mix >> 32);
}

InodeTable::Key InodeTable::key_of(const Mount& mount, const Facts& facts) noexcept {
  return {mount.serial, device_of(facts), facts.stx_ino};
}

Inode* InodeTable::find(std::uint64_t node) const {
  const auto found = by_node_.find(node);
  return found == by_node_.end() ? nullptr : found->second.get();
}

Inode* InodeTable::known(const Mount& mount, const Facts& facts) const {
  const auto found = by_key_.find(key_of(mount, facts));
  return found == by_key_.end() ? nullptr : found->second;
}

bool InodeTable::may_close(const Inode& inode) const noexcept {
  return inode.parent != nullptr && inode.birth != 0 && !inode.path_is_file;
}

void InodeTable::unlist(Inode& inode) {
  if (inode.older != nullptr) inode.older->newer = inode.newer;
  if (inode.newer != nullptr) inode.newer->older = inode.older;
  if (oldest_ == &inode) oldest_ = inode.newer;
  if (youngest_ == &inode) youngest_ = inode.older;
  inode.older = inode.newer = nullptr;
}

void InodeTable::use(Inode& inode) {
  if (youngest_ == &inode || !inode.path || !may_close(inode)) return;
  unlist(inode);
  inode.older = youngest_;
  if (youngest_ != nullptr) youngest_->newer = &inode;
  youngest_ = &inode;
  if (oldest_ == nullptr) oldest_ = &inode;
}

void InodeTable::hold(Inode& inode, base::UniqueFd path, bool is_file) {
  close_path(inode);
  inode.path = std::move(path);
  inode.path_is_file = is_file;
  ++open_;
  use(inode);
}

void InodeTable::close_path(Inode& inode) {
  if (!inode.path) return;
  unlist(inode);
  inode.path.reset();
  --open_;
}

int InodeTable::make_room(std::uint64_t count) {
  for (Inode* inode = oldest_; open_ + count > budget_ && inode != nullptr;) {
    Inode* next = inode->newer;
    if (inode->pins == 0) close_path(*inode);
    inode = next;
  }
  return open_ + count > budget_ ? ENFILE : 0;
}

int InodeTable::remember(const MountTable::Slot& mount, Inode* parent, std::string_view name, base::UniqueFd path,
                         const Facts& facts, bool is_file, Inode*& out) {
  const Key key = key_of(*mount, facts);
  const std::int64_t birth = (facts.stx_mask & STATX_BTIME) != 0 ? nanoseconds(facts.stx_btime) : 0;
  Inode* inode = known(*mount, facts);
  // While its descriptor was closed, the file may have gone and its number come again with another.
  if (inode != nullptr && (inode->birth != birth || inode->kind != (facts.stx_mode & S_IFMT))) {
    by_key_.erase(key);
    inode = nullptr;
  }
  if (inode == nullptr) {
    if (by_node_.size() >= limits::kFsdInodesMax) return ENFILE;
    auto fresh = std::make_unique<Inode>();
    inode = fresh.get();
    inode->node = next_node_++;
    inode->mount = mount;
    inode->device = device_of(facts);
    inode->number = facts.stx_ino;
    inode->birth = birth;
    inode->kind = facts.stx_mode & S_IFMT;
    by_node_.emplace(inode->node, std::move(fresh));
    by_key_[key] = inode;
  }
  if (parent != nullptr) moved(*inode, *parent, name);
  // The table may be over its budget by this one until make_room() is asked next.
  if (!inode->path || inode->path_is_file) hold(*inode, std::move(path), is_file);
  use(*inode);
  ++inode->lookups;
  out = inode;
  return 0;
}

void InodeTable::moved(Inode& inode, Inode& parent, std::string_view name) {
  if (&inode == &parent) return;
  if (inode.parent != &parent) {
    Inode* before = inode.parent;
    inode.parent = &parent;
    ++parent.references;
    if (before != nullptr) {
      --before->references;
      // After renames on the host the former parent may now lie below this inode: it must survive the collection.
      ++inode.references;
      collect(before);
      --inode.references;
    }
  }
  if (inode.name != name) inode.name = name;
}

void InodeTable::forget(std::uint64_t node, std::uint64_t count) {
  Inode* inode = find(node);
  if (inode == nullptr) return;
  inode->lookups -= std::min(inode->lookups, count);
  collect(inode);
}

void InodeTable::collect(Inode* inode) {
  while (inode != nullptr && inode->lookups == 0 && inode->references == 0) {
    Inode* parent = inode->parent;
    close_path(*inode);
    const auto key = by_key_.find({inode->mount->serial, inode->device, inode->number});
    if (key != by_key_.end() && key->second == inode) by_key_.erase(key);
    by_node_.erase(inode->node);
    if (parent != nullptr) --parent->references;
    inode = parent;
  }
}

int InodeTable::find_again(Inode& inode) {
  if (const int error = make_room(1); error != 0) return error;
  base::UniqueFd path;
  if (const int error = refer(inode.parent->path.get(), inode.name.c_str(), path); error != 0) {
    return error == ENOENT || error == ENOTDIR ? ESTALE : error;
  }
  Facts facts{};
  if (const int error = look_at(path.get(), facts); error != 0) return error;
  const bool same = device_of(facts) == inode.device && facts.stx_ino == inode.number &&
                    (facts.stx_mode & S_IFMT) == inode.kind && nanoseconds(facts.stx_btime) == inode.birth;
  if (!same) return ESTALE;
  hold(inode, std::move(path), false);
  return 0;
}

int InodeTable::path_of(Inode& inode, int& fd) {
  if (inode.mount->detached.load(std::memory_order_acquire)) return ESTALE;
  // From the nearest one above that has its descriptor, down. Each step pins the directory that the next one needs; a
  // way longer than any path is one that goes in a circle, by names that the host has changed since.
  while (!inode.path) {
    // A file without a name is still there for those who have it open.
    if (inode.handles != nullptr && inode.handles->fd) {
      fd = inode.handles->fd.get();
      return 0;
    }
    Inode* lowest = &inode;
    std::size_t depth = 0;
    while (lowest->parent != nullptr && !lowest->parent->path) {
      lowest = lowest->parent;
      if (++depth > limits::kPathMax / 2) return ESTALE;
    }
    if (lowest->parent == nullptr) return ESTALE;
    const Pin pin(*this, *lowest->parent);
    if (const int error = find_again(*lowest); error != 0) return error;
  }
  use(inode);
  fd = inode.path.get();
  return 0;
}

int InodeTable::open(Inode& inode, int flags, base::UniqueFd& out, Facts& facts) {
  const Pin pin(*this, inode);
  int path = -1;
  if (const int error = path_of(inode, path); error != 0) return error;
  if (const int error = make_room(1); error != 0) return error;
  if (inode.is_directory()) {
    if (const int error = open_in(path, ".", flags | O_DIRECTORY, 0, out); error != 0) return error;
    return look_at(out.get(), facts);
  }
  if (inode.kind != S_IFREG) return EINVAL;
  int error = ESTALE, directory = -1;
  if (inode.parent != nullptr) error = path_of(*inode.parent, directory);
  if (error == 0) error = open_in(directory, inode.name.c_str(), flags, 0, out);
  if (error == 0) error = look_at(out.get(), facts);
  const bool same = error == 0 && device_of(facts) == inode.device && facts.stx_ino == inode.number &&
                    (inode.birth == 0 || nanoseconds(facts.stx_btime) == inode.birth);
  if (same) return 0;
  for (const int gone : {0, ESTALE, ENOENT, ELOOP, ENXIO, EISDIR, ENOTDIR}) {
    // The guest's kernel then looks the name up again, where nobody can lend it.
    if (error == gone) return lend(inode, flags & O_ACCMODE, out, facts);
  }
  return error;
}

// Somebody else is there under its name. Those who have the file open can still lend it: reads and writes here name
// their offset, so that the shared position does not matter.
int InodeTable::lend(const Inode& inode, int access, base::UniqueFd& out, Facts& facts) {
  for (const Handle* handle = inode.handles; handle != nullptr; handle = handle->next) {
    if (handle->access != O_RDWR && handle->access != access) continue;
    out.reset(::fcntl(handle->fd.get(), F_DUPFD_CLOEXEC, 0));
    return out ? look_at(out.get(), facts) : errno;
  }
  out.reset();
  return ESTALE;
}

Handle* InodeTable::find_handle(std::uint64_t number, const Inode* inode) const {
  const auto found = handles_.find(number);
  return found == handles_.end() || found->second->inode != inode ? nullptr : found->second.get();
}

int InodeTable::add_handle(Inode* inode, base::UniqueFd fd, int access, bool directory, Handle*& out) {
  if (handles_.size() >= budget_ / 2) return ENFILE;
  auto handle = std::make_unique<Handle>();
  out = handle.get();
  out->number = next_handle_++;
  out->inode = inode;
  out->fd = std::move(fd);
  out->access = access;
  out->directory = directory;
  if (out->fd) ++open_;
  if (inode != nullptr) {
    ++inode->references;
    out->next = inode->handles;
    inode->handles = out;
  }
  handles_.emplace(out->number, std::move(handle));
  return 0;
}

void InodeTable::release(Handle& handle) {
  if (handle.fd) --open_;
  Inode* inode = handle.inode;
  if (inode != nullptr) {
    Handle** link = &inode->handles;
    while (*link != &handle) link = &(*link)->next;
    *link = handle.next;
    --inode->references;
  }
  handles_.erase(handle.number);
  collect(inode);
}

void InodeTable::drop_detached() {
  for (auto& [number, handle] : handles_) {
    if (handle->inode == nullptr || !handle->inode->mount->detached.load(std::memory_order_acquire)) continue;
    if (handle->fd) --open_;
    handle->fd.reset();
  }
  for (auto& [node, inode] : by_node_) {
    if (inode->mount->detached.load(std::memory_order_acquire)) close_path(*inode);
  }
}

void InodeTable::clear() {
  handles_.clear();
  by_key_.clear();
  by_node_.clear();
  oldest_ = youngest_ = nullptr;
  open_ = 0;
}

}  // namespace sandforge::fsd
