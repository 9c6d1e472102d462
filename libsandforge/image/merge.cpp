// SPDX-License-Identifier: Apache-2.0
#include "image/merge.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::image {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kInternal = ".wh..wh.";  // aufs metadata, of which only the next one has a meaning
constexpr std::string_view kOpaque = ".wh..wh..opq";
constexpr int kDirectory = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

base::Result<std::vector<std::string>> names_in(int directory, const fs::path& where) {
  base::UniqueFd copy(::openat(directory, ".", kDirectory));
  std::unique_ptr<DIR, int (*)(DIR*)> stream(copy ? ::fdopendir(copy.get()) : nullptr, &::closedir);
  if (!stream) return base::os_error("cannot list " + where.string());
  copy.release();
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr && errno != 0) return base::os_error("cannot list " + where.string());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

// rm -rf of one entry, following no link. Fine when there is none.
base::Status remove_entry(int directory, const std::string& name, const fs::path& where) {
  if (::unlinkat(directory, name.c_str(), 0) == 0 || errno == ENOENT) return {};
  std::error_code error;
  fs::remove_all(fs::path("/proc/self/fd") / std::to_string(directory) / name, error);
  if (error) return base::os_error("cannot remove " + (where / name).string(), error.value());
  return {};
}

class Merger {
 public:
  Merger(int root, bool privileged) : root_(root), privileged_(privileged) {}

  // `path`: where `to` is, relative to the root; for messages and links.
  base::Status merge(int from, int to, const fs::path& path, std::size_t depth) {
    if (depth > limits::kImportDepthMax) {
      return base::make_error(base::Code::Exhausted, "import_too_deep", "the layers nest their directories too deeply");
    }
    make_usable(from);
    make_usable(to);
    SANDFORGE_TRY(const std::vector<std::string> names, names_in(from, path));
    if (std::binary_search(names.begin(), names.end(), kOpaque)) {
      SANDFORGE_TRY(const std::vector<std::string> lower, names_in(to, path));
      for (const std::string& name : lower) SANDFORGE_TRY_STATUS(remove_entry(to, name, path));
    }
    // All whiteouts before all additions: they speak of lower layers only.
    for (const std::string& name : names) {
      if (!name.starts_with(kWhiteout) || name.starts_with(kInternal)) continue;
      const std::string hidden = name.substr(kWhiteout.size());
      if (hidden.empty() || hidden == "." || hidden == "..") continue;
      SANDFORGE_TRY_STATUS(remove_entry(to, hidden, path));
    }
    for (const std::string& name : names) {
      if (!name.starts_with(kWhiteout)) SANDFORGE_TRY_STATUS(add(from, to, name, path, depth));
    }
    return {};
  }

 private:
  base::Status add(int from, int to, const std::string& name, const fs::path& path, std::size_t depth) {
    struct stat status {};
    if (::fstatat(from, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      return base::os_error("cannot stat " + (path / name).string());
    }
    if (S_ISDIR(status.st_mode)) return add_directory(from, to, name, path, depth, status);
    SANDFORGE_TRY_STATUS(remove_entry(to, name, path));
    if (::renameat(from, name.c_str(), to, name.c_str()) != 0) {
      return base::os_error("cannot move " + (path / name).string());
    }
    return {};
  }

  base::Status add_directory(int from, int to, const std::string& name, const fs::path& path, std::size_t depth,
                             const struct stat& status) {
    const base::UniqueFd source(::openat(from, name.c_str(), kDirectory));
    if (!source) return base::os_error("cannot open " + (path / name).string());
    base::UniqueFd target(::openat(to, name.c_str(), kDirectory));
    if (!target && (errno == ELOOP || errno == ENOTDIR)) {
      const bool opaque = ::faccessat(source.get(), kOpaque.data(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
      if (const base::UniqueFd linked = opaque ? base::UniqueFd() : behind_link(path / name); linked) {
        return merge(source.get(), linked.get(), path / name, depth + 1);
      }
      SANDFORGE_TRY_STATUS(remove_entry(to, name, path));
    }
    if (!target) {
      if (::mkdirat(to, name.c_str(), 0700) != 0) return base::os_error("cannot create " + (path / name).string());
      target.reset(::openat(to, name.c_str(), kDirectory));
    }
    if (!target) return base::os_error("cannot open " + (path / name).string());
    SANDFORGE_TRY_STATUS(merge(source.get(), target.get(), path / name, depth + 1));
    return copy_metadata(target.get(), status, path / name);
  }

  // The directory to which a link at `path` leads within the root, if it does.
  base::UniqueFd behind_link(const fs::path& path) const {
    open_how how{};
    how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    return base::UniqueFd(
        static_cast<int>(::syscall(SYS_openat2, root_, path.relative_path().c_str(), &how, sizeof(how))));
  }

  base::Status copy_metadata(int target, const struct stat& status, const fs::path& path) const {
    const std::array<timespec, 2> times = {status.st_atim, status.st_mtim};
    // Who is not root owns everything; the writer of the image makes it root's.
    if ((privileged_ && ::fchown(target, status.st_uid, status.st_gid) != 0) ||
        ::fchmod(target, (status.st_mode & 07777) | (privileged_ ? 0U : 0700U)) != 0 ||
        ::futimens(target, times.data()) != 0) {
      return base::os_error("cannot set the owner and mode of " + path.string());
    }
    return {};
  }

  // Who is not root needs permission for what he owns.
  void make_usable(int directory) const {
    struct stat status {};
    if (privileged_ || ::fstat(directory, &status) != 0) return;
    ::fchmod(directory, (status.st_mode & 07777) | 0700);
  }

  int root_;
  bool privileged_;
};

}  // namespace

base::Status apply_layer(const fs::path& layer, const fs::path& root) {
  const base::UniqueFd from(::open(layer.c_str(), kDirectory)), to(::open(root.c_str(), kDirectory));
  if (!from) return base::os_error("cannot open " + layer.string());
  if (!to) return base::os_error("cannot open " + root.string());
  return Merger(to.get(), ::geteuid() == 0).merge(from.get(), to.get(), {}, 0);
}

}  // namespace sandforge::image
