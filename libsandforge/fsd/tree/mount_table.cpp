// SPDX-License-Identifier: Apache-2.0
#include "fsd/tree/mount_table.hpp"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

#include <cerrno>

#include "fsd/tree/host.hpp"

namespace sandforge::fsd {
namespace {

// Whether ".." of the directory is the directory itself: only then can no way lead out of it.
int check_is_top(int root, const Facts& facts) {
  Facts above{};
  if (::statx(root, "..", AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &above) != 0) return errno;
  return above.stx_ino == facts.stx_ino && device_of(above) == device_of(facts) ? 0 : EXDEV;
}

int check_flags(int root, bool read_only) {
  struct statfs info {};
  if (::fstatfs(root, &info) != 0) return errno;
  const unsigned long wanted = ST_NOSUID | ST_NODEV | ST_NOEXEC | (read_only ? ST_RDONLY : 0);
  return (static_cast<unsigned long>(info.f_flags) & wanted) == wanted ? 0 : EPERM;
}

}  // namespace

int MountTable::attach(std::uint32_t index, bool read_only, base::UniqueFd root) {
  if (index >= slots_.size()) return EINVAL;
  if (at(index)) return EBUSY;
  Facts facts{};
  if (const int error = look_at(root.get(), facts); error != 0) return error;
  if (!is_kind(facts, S_IFDIR)) return ENOTDIR;
  if (const int error = check_is_top(root.get(), facts); error != 0) return error;
  if (const int error = check_flags(root.get(), read_only); error != 0) return error;
  auto mount = std::make_shared<Mount>();
  mount->index = index;
  mount->serial = next_serial_++;
  mount->read_only = read_only;
  mount->root = std::move(root);
  mount->device = device_of(facts);
  mount->owner = facts.stx_uid;
  const std::lock_guard lock(mutex_);
  slots_[index] = std::move(mount);
  return 0;
}

int MountTable::detach(std::uint32_t index) {
  Slot gone;
  {
    const std::lock_guard lock(mutex_);
    if (index >= slots_.size() || !slots_[index]) return ENOENT;
    gone = std::move(slots_[index]);
  }
  gone->detached.store(true, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_release);
  return 0;
}

MountTable::Slot MountTable::at(std::uint32_t index) const {
  const std::lock_guard lock(mutex_);
  return index < slots_.size() ? slots_[index] : nullptr;
}

std::vector<MountTable::Slot> MountTable::all() const {
  std::vector<Slot> found;
  const std::lock_guard lock(mutex_);
  for (const Slot& slot : slots_) {
    if (slot) found.push_back(slot);
  }
  return found;
}

}  // namespace sandforge::fsd
