// SPDX-License-Identifier: Apache-2.0
#include "agent/files.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string_view>

#include "agent/remove_tree.hpp"
#include "agent/rooted_path.hpp"
#include "agent/small_io.hpp"
#include "base/limits.hpp"
#include "wire/codec.hpp"

namespace sandforge::agent {

namespace {
constexpr std::size_t kPiece = 64 * 1024;
// A record is at most a name, a link target and some numbers; a packet with one more record stays within a frame.
constexpr std::size_t kPacketFull = limits::kFramePayloadMax - limits::kPathMax - 1024;

std::string shown(std::string_view path) { return std::string(path.substr(0, 200)); }

struct DirectoryCloser {
  void operator()(DIR* directory) const noexcept { ::closedir(directory); }
};

wire::FileInfo entry_info(int directory, const char* name, const struct stat& info) {
  wire::FileInfo out = info_of(name, info);
  if (S_ISLNK(info.st_mode)) {
    char target[limits::kPathMax];
    const ssize_t n = ::readlinkat(directory, name, target, sizeof(target));
    if (n > 0) out.link_target.assign(target, static_cast<std::size_t>(n));
  }
  return out;
}
}  // namespace

wire::FileInfo info_of(std::string_view path, const struct stat& info) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  wire::FileInfo out;
  out.name = path == "/" ? "/" : std::string(path.substr(path.rfind('/') + 1));
  out.length = static_cast<std::uint64_t>(info.st_size);
  out.mode = info.st_mode;
  out.uid = info.st_uid;
  out.gid = info.st_gid;
  out.modified_at = info.st_mtim.tv_sec;
  out.modified_nsec = static_cast<std::uint32_t>(info.st_mtim.tv_nsec);
  return out;
}

base::Result<std::string> read_file(FileJob& job, const wire::FileReadRequest& request) {
  SANDFORGE_TRY_STATUS(check_path(request.path));
  SANDFORGE_TRY(const base::UniqueFd file, open_regular(job.root, request.path));
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return base::os_error(shown(request.path));
  job.meta(wire::encode(info_of(request.path, info)));
  if (request.offset > INT64_MAX) return std::string();  // beyond any file
  std::uint64_t left = request.length;
  const auto buffer = std::make_unique<char[]>(kPiece);
  for (off_t at = static_cast<off_t>(request.offset); left > 0;) {
    const std::size_t wanted = static_cast<std::size_t>(std::min<std::uint64_t>(left, kPiece));
    const ssize_t n = ::pread(file.get(), buffer.get(), wanted, at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::os_error(shown(request.path));
    if (n == 0) break;
    at += n;
    left -= static_cast<std::uint64_t>(n);
    if (!write_whole(job.pipe.get(), {buffer.get(), static_cast<std::size_t>(n)}, "pipe")) break;  // given up
  }
  SANDFORGE_TRY_STATUS(job.check());
  return std::string();
}

base::Result<std::string> list_directory(FileJob& job, const wire::PathRequest& request) {
  SANDFORGE_TRY_STATUS(check_path(request.path));
  SANDFORGE_TRY(base::UniqueFd directory, open_in_root(job.root, request.path, O_RDONLY | O_DIRECTORY));
  const std::unique_ptr<DIR, DirectoryCloser> entries(::fdopendir(directory.get()));
  if (!entries) return base::os_error(shown(request.path));
  const int fd = directory.release();  // the stream owns it now
  std::string packet;
  const auto flush = [&] {
    if (!packet.empty()) (void)write_whole(job.pipe.get(), std::exchange(packet, {}), "socket");
  };
  std::size_t count = 0;
  while (true) {
    errno = 0;
    const dirent* const entry = ::readdir(entries.get());
    if (entry == nullptr) {
      if (errno != 0) return base::os_error(shown(request.path));
      break;
    }
    const std::string_view name = entry->d_name;
    struct stat info {};
    if (name == "." || name == "..") continue;
    if (::fstatat(fd, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) continue;  // gone meanwhile
    if (++count > limits::kDirEntriesMax) {
      return base::make_error(base::Code::Exhausted, "too_many_entries", shown(request.path) + ": too many entries");
    }
    wire::Encoder(packet).text(wire::encode(entry_info(fd, entry->d_name, info)), limits::kFramePayloadMax);
    if (packet.size() > kPacketFull) flush();
    SANDFORGE_TRY_STATUS(job.check());
  }
  flush();
  SANDFORGE_TRY_STATUS(job.check());
  return std::string();
}

base::Result<std::string> stat_path(FileJob& job, const wire::PathRequest& request) {
  SANDFORGE_TRY_STATUS(check_path(request.path));
  SANDFORGE_TRY(const base::UniqueFd file, open_in_root(job.root, request.path, O_PATH));
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return base::os_error(shown(request.path));
  return wire::encode(info_of(request.path, info));
}

base::Result<std::string> remove_path(FileJob& job, const wire::PathRequest& request) {
  SANDFORGE_TRY(const Place place, open_parent(job.root, request.path));
  if (::unlinkat(place.directory.get(), place.name.c_str(), 0) == 0) return std::string();
  const int error = errno;
  if (error != EISDIR && error != EPERM) return base::os_error(shown(request.path), error);
  if (request.flag == 0) {
    if (::unlinkat(place.directory.get(), place.name.c_str(), AT_REMOVEDIR) != 0) {
      return base::os_error(shown(request.path), errno == ENOTDIR ? error : errno);
    }
    return std::string();
  }
  SANDFORGE_TRY_STATUS(remove_tree(place.directory.get(), place.name, [&job] { return job.cancelled(); }));
  SANDFORGE_TRY_STATUS(job.check());
  return std::string();
}

base::Result<std::string> rename_path(FileJob& job, const wire::RenameRequest& request) {
  SANDFORGE_TRY(const Place from, open_parent(job.root, request.from));
  SANDFORGE_TRY(const Place to, open_parent(job.root, request.to));
  if (::renameat(from.directory.get(), from.name.c_str(), to.directory.get(), to.name.c_str()) != 0) {
    return base::os_error(shown(request.from) + " to " + shown(request.to));
  }
  return std::string();
}

base::Result<std::string> make_directory(FileJob& job, const wire::PathRequest& request) {
  SANDFORGE_TRY_STATUS(check_path(request.path));
  const mode_t mode = request.mode == 0 ? 0755 : request.mode & 07777;
  std::string_view path = request.path;
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  if (request.flag != 0) {
    if (path == "/") return std::string();
    const std::string_view parent = path.substr(0, path.rfind('/'));
    SANDFORGE_TRY_STATUS(make_directories(job.root, parent.empty() ? "/" : parent, 0755));
  }
  SANDFORGE_TRY(const Place place, open_parent(job.root, path));
  if (::mkdirat(place.directory.get(), place.name.c_str(), mode) == 0) return std::string();
  const int error = errno;
  if (error == EEXIST && request.flag != 0 && open_in_root(job.root, std::string(path), O_PATH | O_DIRECTORY)) {
    return std::string();
  }
  return base::os_error(shown(path), error);
}

}  // namespace sandforge::agent
