// SPDX-License-Identifier: Apache-2.0
#include "image/file_io.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <atomic>

namespace sandforge::image {

namespace fs = std::filesystem;

base::Result<std::string> read_file(const fs::path& path, std::uint64_t limit) {
  const base::UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file) return base::os_error("cannot open " + path.string());
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return base::os_error("cannot stat " + path.string());
  if (!S_ISREG(status.st_mode)) {
    return base::make_error(base::Code::InvalidArgument, "not_a_file", path.string() + " is not a regular file");
  }
  std::string bytes;
  std::uint64_t room = static_cast<std::uint64_t>(status.st_size);
  for (;;) {
    if (room > limit || bytes.size() > limit) {
      return base::make_error(base::Code::Exhausted, "file_too_large",
                              path.string() + " has more than " + std::to_string(limit) + " bytes");
    }
    const std::size_t before = bytes.size();
    bytes.resize(before + static_cast<std::size_t>(room > before ? room - before : 0) + 1);
    const ssize_t got = ::read(file.get(), bytes.data() + before, bytes.size() - before);
    if (got < 0 && errno != EINTR) return base::os_error("cannot read " + path.string());
    bytes.resize(before + static_cast<std::size_t>(got > 0 ? got : 0));
    if (got == 0) return bytes;
  }
}

base::Status write_all(int fd, std::string_view bytes, std::string_view what) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return base::os_error("cannot write " + std::string(what));
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  return {};
}

base::Status write_file(const fs::path& path, std::string_view bytes, unsigned mode) {
  const base::UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!file) return base::os_error("cannot create " + path.string());
  return write_all(file.get(), bytes, path.string());
}

base::Status replace_file(const fs::path& path, std::string_view bytes, unsigned mode) {
  static std::atomic<unsigned> counter{0};  // two threads of one process must not share a name
  const fs::path fresh =
      path.string() + "." + std::to_string(::getpid()) + "." + std::to_string(counter.fetch_add(1)) + ".new";
  base::Status status = write_file(fresh, bytes, mode);
  if (status && ::chmod(fresh.c_str(), mode) != 0) status = base::os_error("cannot write " + fresh.string());
  if (status) status = sync_path(fresh);
  if (status && ::rename(fresh.c_str(), path.c_str()) != 0) status = base::os_error("cannot write " + path.string());
  if (!status) {
    ::unlink(fresh.c_str());
    return status;
  }
  return sync_path(path.parent_path());
}

base::Status sync_path(const fs::path& path) {
  const base::UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return base::os_error("cannot open " + path.string());
  if (::fsync(file.get()) != 0) return base::os_error("cannot sync " + path.string());
  return {};
}

base::Status make_dirs(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return base::os_error("cannot create the directory " + path.string(), error.value());
  if (!fs::is_directory(path, error)) {
    return base::make_error(base::Code::Conflict, {}, path.string() + " exists and is not a directory");
  }
  return {};
}

base::Result<std::uint64_t> file_bytes(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return base::os_error("cannot stat " + path.string());
  if (!S_ISREG(status.st_mode)) {
    return base::make_error(base::Code::InvalidArgument, "not_a_file", path.string() + " is not a regular file");
  }
  return static_cast<std::uint64_t>(status.st_size);
}

void remove_tree(const fs::path& path) noexcept {
  std::error_code error;
  if (fs::remove_all(path, error); !error) return;
  // A tree taken from an archive may hold directories without write permission.
  try {
    for (auto entry = fs::recursive_directory_iterator(path, fs::directory_options::skip_permission_denied, error);
         !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
      if (!entry->is_directory(error) || entry->is_symlink(error)) continue;
      fs::permissions(entry->path(), fs::perms::owner_all, fs::perm_options::add, error);
    }
    fs::remove_all(path, error);
  } catch (const std::exception&) {
    return;  // out of memory: the next store cleans up
  }
}

base::Result<FileLock> FileLock::wait(const fs::path& file, Mode mode) {
  base::UniqueFd fd;
  if (mode == Mode::Exclusive) {
    fd.reset(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
    if (!fd) return base::os_error("cannot open " + file.string());
  } else {
    fd.reset(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!fd && errno == ENOENT) fd.reset(::open(file.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
    // Nobody can write to a store in which not even the lock can be made.
    if (!fd && (errno == EROFS || errno == EACCES || errno == EPERM)) return FileLock(base::UniqueFd());
    if (!fd) return base::os_error("cannot open " + file.string());
  }
  while (::flock(fd.get(), mode == Mode::Exclusive ? LOCK_EX : LOCK_SH) != 0) {
    if (errno != EINTR) return base::os_error("cannot lock " + file.string());
  }
  return FileLock(std::move(fd));
}

FileLock FileLock::try_directory(const fs::path& directory) {
  base::UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (fd && ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) fd.reset();
  return FileLock(std::move(fd));
}

}  // namespace sandforge::image
