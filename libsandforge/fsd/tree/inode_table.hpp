// SPDX-License-Identifier: Apache-2.0
// What the guest knows of the host's files: inodes by the number that the guest was given, and files that it opened.
// Worker thread only.
//
// A number is never used twice, so one that is stale, freed or made up finds nothing. The guest's own count of its
// look-ups (nlookup) can be wrong; it only says when the guest has forgotten. What this process needs (a parent for its
// children, an inode for its open files) it counts itself.
//
// Each inode is held by an O_PATH descriptor. When there are more than the budget allows, those that were not used for
// the longest time are closed and found again by their parent and name; what is found must be the same file by device,
// inode number, type and time of birth (decision 0004).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/unique_fd.hpp"
#include "fsd/tree/host.hpp"
#include "fsd/tree/mount_table.hpp"

namespace sandforge::fsd {

struct Handle;

struct Inode {
  std::uint64_t node = 0;
  MountTable::Slot mount;
  std::uint64_t device = 0, number = 0;  // on the host
  std::int64_t birth = 0;                // 0: the file system does not tell
  unsigned kind = 0;                     // S_IFMT part of its mode
  base::UniqueFd path;                   // may be closed: use InodeTable::path_of
  bool path_is_file = false;             // `path` is an opened file, not O_PATH: one that never had a name
  Inode* parent = nullptr;               // where it was seen last, with a reference; null for a mount's root
  std::string name;
  std::uint64_t lookups = 0;     // that the guest says it holds
  std::uint32_t references = 0;  // children whose parent this is, open files, pins
  std::uint32_t pins = 0;        // requests that use it now: neither freed nor without its descriptor meanwhile
  Handle* handles = nullptr;     // open files of this inode
  // Of the file's content when the guest opened it last: what it has cached since is still right while both are.
  std::uint64_t cached_size = 0;
  std::int64_t cached_time = -1;
  Inode* older = nullptr;  // order of last use, of those whose descriptor may be closed
  Inode* newer = nullptr;

  bool is_directory() const noexcept { return kind == S_IFDIR; }
};

struct Handle {
  std::uint64_t number = 0;
  Inode* inode = nullptr;  // null: the root of all
  base::UniqueFd fd;
  int access = 0;  // O_RDONLY, O_WRONLY or O_RDWR
  bool directory = false;
  std::uint64_t position = 0;  // of a directory: where the next read of it goes on
  Handle* next = nullptr;      // of the same inode
};

class InodeTable {
 public:
  // `descriptors`: how many it may hold open, at least 16.
  explicit InodeTable(std::uint64_t descriptors) : budget_(descriptors) {}
  InodeTable(const InodeTable&) = delete;
  InodeTable& operator=(const InodeTable&) = delete;
  ~InodeTable() { clear(); }

  // Null for what the guest cannot know.
  Inode* find(std::uint64_t node) const;
  // The inode of what was found as `name` in `parent` (null: a mount's root), with one more look-up of the guest. Takes
  // the descriptor, an O_PATH one unless `is_file`. 0, or ENFILE at the cap of inodes.
  int remember(const MountTable::Slot& mount, Inode* parent, std::string_view name, base::UniqueFd path,
               const Facts& facts, bool is_file, Inode*& out);
  // The guest has forgotten `count` look-ups; more than there were are as many as there were.
  void forget(std::uint64_t node, std::uint64_t count);
  // `inode` is now seen there.
  void moved(Inode& inode, Inode& parent, std::string_view name);
  // The one already known by these facts, or null.
  Inode* known(const Mount& mount, const Facts& facts) const;

  // While it is pinned, an inode is not freed, and the descriptor that path_of() gave stays open.
  class Pin {
   public:
    Pin(InodeTable& table, Inode& inode) : table_(table), inode_(inode) {
      ++inode_.references;
      ++inode_.pins;
    }
    Pin(const Pin&) = delete;
    Pin& operator=(const Pin&) = delete;
    ~Pin() {
      --inode_.references;
      --inode_.pins;
      table_.collect(&inode_);
    }

   private:
    InodeTable& table_;
    Inode& inode_;
  };

  // A descriptor that refers to the inode, borrowed: while it is pinned, else until the next call of this table.
  // 0; ESTALE: the mount is gone, or the file is no longer where it was; ENFILE.
  int path_of(Inode& inode, int& fd);
  // Opens a regular file or a directory anew. `flags`: access mode, O_DIRECTORY. Errors as path_of(), and those of
  // open.
  int open(Inode& inode, int flags, base::UniqueFd& out, Facts& facts);

  // Null when there is none of this number, or it is not of this inode (null: of the root).
  Handle* find_handle(std::uint64_t number, const Inode* inode) const;
  // 0, or ENFILE.
  int add_handle(Inode* inode, base::UniqueFd fd, int access, bool directory, Handle*& out);
  void release(Handle& handle);

  // Makes room for `count` descriptors that are about to be opened. ENFILE when there is none.
  int make_room(std::uint64_t count);
  // Closes all descriptors into mounts that were detached.
  void drop_detached();
  void clear();

  std::size_t inodes() const noexcept { return by_node_.size(); }
  std::size_t handles() const noexcept { return handles_.size(); }
  std::uint64_t descriptors() const noexcept { return open_; }

 private:
  struct Key {
    std::uint64_t mount, device, number;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const noexcept;
  };
  static Key key_of(const Mount& mount, const Facts& facts) noexcept;

  bool may_close(const Inode& inode) const noexcept;
  void use(Inode& inode);     // it is the youngest now
  void unlist(Inode& inode);  // its descriptor is closed, or it is freed
  void close_path(Inode& inode);
  void hold(Inode& inode, base::UniqueFd path, bool is_file);
  int find_again(Inode& inode);  // whose parent has its descriptor
  int lend(const Inode& inode, int access, base::UniqueFd& out, Facts& facts);
  void collect(Inode* inode);  // frees it if nobody needs it, then its parents

  const std::uint64_t budget_;
  std::uint64_t open_ = 0;
  std::uint64_t next_node_ = 2;  // 1 is the root of all
  std::uint64_t next_handle_ = 1;
  std::unordered_map<std::uint64_t, std::unique_ptr<Inode>> by_node_;
  std::unordered_map<Key, Inode*, KeyHash> by_key_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Handle>> handles_;
  Inode* oldest_ = nullptr;
  Inode* youngest_ = nullptr;
};

}  // namespace sandforge::fsd
