// SPDX-License-Identifier: Apache-2.0
// Writing a file: a temporary one beside it that takes its place when all bytes have come, or goes away.
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string_view>

#include "agent/files.hpp"
#include "agent/rooted_path.hpp"
#include "base/limits.hpp"
#include "wire/codec.hpp"

namespace sandforge::agent {

namespace {
constexpr std::size_t kPiece = 64 * 1024;
constexpr int kSymlinksMax = 40;

// Where the bytes go in the end: the target of a symlink, or the path itself.
struct Target {
  Place place;
  bool exists = false;
  struct stat info {};
};

std::string directory_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == 0 ? "/" : std::string(path.substr(0, slash));
}

base::Result<Target> find_target(int root, std::string path) {
  for (int links = 0; links < kSymlinksMax; ++links) {
    SANDFORGE_TRY_STATUS(check_path(path));
    SANDFORGE_TRY_STATUS(make_directories(root, directory_of(path), 0755));
    Target target;
    SANDFORGE_TRY(target.place, open_parent(root, path));
    const int directory = target.place.directory.get();
    const char* const name = target.place.name.c_str();
    if (::fstatat(directory, name, &target.info, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return target;
      return base::os_error(path.substr(0, 200));
    }
    target.exists = true;
    if (S_ISREG(target.info.st_mode)) return target;
    if (S_ISDIR(target.info.st_mode)) return base::os_error(path.substr(0, 200), EISDIR);
    if (!S_ISLNK(target.info.st_mode)) {
      return base::make_error(base::Code::Conflict, "not_a_file", "not a regular file");
    }
    char link[limits::kPathMax];
    const ssize_t n = ::readlinkat(directory, name, link, sizeof(link));
    if (n <= 0) return base::os_error(path.substr(0, 200), n == 0 ? ENOENT : errno);
    const std::string_view text(link, static_cast<std::size_t>(n));
    path = text.front() == '/' ? std::string(text) : directory_of(path) + "/" + std::string(text);
  }
  return base::os_error(path.substr(0, 200), ELOOP);
}

std::string temporary_name() {
  std::uint64_t number = 0;
  [[maybe_unused]] const auto ignored = ::getrandom(&number, sizeof(number), 0);
  return ".sandforge-" + std::to_string(number) + ".tmp";
}

// Removes its file unless told that it has taken its place.
class Temporary {
 public:
  Temporary(int directory, std::string name) : directory_(directory), name_(std::move(name)) {}
  ~Temporary() {
    if (!kept_) ::unlinkat(directory_, name_.c_str(), 0);
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  void keep() noexcept { kept_ = true; }

 private:
  const int directory_;
  const std::string name_;
  bool kept_ = false;
};

base::Status copy_content(int from, int to) {
  const auto buffer = std::make_unique<char[]>(kPiece);
  while (true) {
    const ssize_t n = ::read(from, buffer.get(), kPiece);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::os_error("pipe");
    if (n == 0) return {};
    for (ssize_t done = 0; done < n;) {
      const ssize_t m = ::write(to, buffer.get() + done, static_cast<std::size_t>(n - done));
      if (m < 0 && errno == EINTR) continue;
      if (m < 0) return base::os_error("write");
      done += m;
    }
  }
}

base::Status copy_ownership(int fd, const Target& target, std::uint32_t wanted_mode) {
  const mode_t old = target.exists ? target.info.st_mode & 07777 : 0644;
  if (target.exists && ::fchown(fd, target.info.st_uid, target.info.st_gid) != 0) return base::os_error("chown");
  // After the owner: a change of owner drops set-id bits.
  if (::fchmod(fd, wanted_mode == 0 ? old : wanted_mode & 07777) != 0) return base::os_error("chmod");
  return {};
}
}  // namespace

base::Result<std::string> write_file(FileJob& job, const wire::FileWriteRequest& request) {
  SANDFORGE_TRY(Target target, find_target(job.root, request.path));
  const int directory = target.place.directory.get();
  const std::string name = temporary_name();
  const base::UniqueFd file(
      ::openat(directory, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return base::os_error(request.path.substr(0, 200));
  Temporary temporary(directory, name);
  if (base::Status copied = copy_content(job.pipe.get(), file.get()); !copied) {
    return std::move(copied.error()).context(request.path.substr(0, 200));
  }
  SANDFORGE_TRY_STATUS(job.check());
  SANDFORGE_TRY_STATUS(copy_ownership(file.get(), target, request.mode));
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return base::os_error(request.path.substr(0, 200));
  if (::renameat(directory, name.c_str(), directory, target.place.name.c_str()) != 0) {
    return base::os_error(request.path.substr(0, 200));
  }
  temporary.keep();
  return wire::encode(info_of(target.place.name, info));
}

}  // namespace sandforge::agent
