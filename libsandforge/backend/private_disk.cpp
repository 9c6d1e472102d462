// SPDX-License-Identifier: Apache-2.0
// make_private_disk by mke2fs from e2fsprogs, which writes into the sparse file without a loop device or a mount.
#include "backend/private_disk.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "base/limits.hpp"
#include "base/process.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::backend {
namespace {

constexpr std::uint64_t kSmallest = 16 * limits::kMiB;
// mke2fs lives in the directories for administrators, which an ordinary user's PATH lacks.
constexpr const char* kToolPath = "/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin";

// The whole feature set is written out, so that the disk is the same whatever the host's mke2fs.conf says.
//   no journal          the disk dies with its guest; nobody ever replays it, and every write would be made twice
//   no metadata_csum    the bytes lie in a file of the host; checksums would cost an emulated CPU dearly
//   uninit_bg           with lazy_itable_init: inode tables are not written now, which keeps the file sparse
//   no resize_inode     the size is fixed for life
//   ext_attr, 256-byte  overlayfs keeps its marks in extended attributes; they fit into the inode
constexpr const char* kFeatures =
    "none,dir_index,dir_nlink,ext_attr,extent,extra_isize,filetype,flex_bg,huge_file,large_file,sparse_super,uninit_bg";

std::string last_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  const std::size_t newline = text.rfind('\n');
  return newline == std::string::npos ? text : text.substr(newline + 1);
}

base::Status format(const std::string& tool, const std::filesystem::path& file) {
  base::SpawnOptions options;
  options.program = tool;
  // -m 0: no reserve for a root that owns the whole disk anyway. nodiscard: the file is all hole already.
  options.args = {
      "-q",         "-F",    "-t", "ext4", "-b", "4096",    "-I", "256",
      "-i",         "16384", "-m", "0",    "-O", kFeatures, "-E", "lazy_itable_init=1,nodiscard,root_owner=0:0",
      file.string()};
  options.env = {"MKE2FS_CONFIG=/dev/null", "MKE2FS_SYNC=0"};
  SANDFORGE_TRY(const base::RunResult result, base::run(std::move(options)));
  if (result.ok()) return {};
  return base::make_error(base::Code::Internal, "disk_format_failed",
                          "mke2fs " + base::describe_wait_status(result.status) + ": " + last_line(result.err),
                          "look for a full or read-only file system under the state directory");
}

}  // namespace

base::Status make_private_disk(const std::filesystem::path& file, std::uint64_t bytes) {
  if (bytes < kSmallest) {
    return base::make_error(base::Code::InvalidArgument, "disk_too_small", "a private disk has at least 16 MiB");
  }
  const std::string tool = base::find_program("mke2fs", kToolPath);
  if (tool.empty()) {
    return base::make_error(base::Code::Unsupported, "mke2fs_missing",
                            "mke2fs, which formats the private disks of sandboxes, was not found",
                            "apt-get install e2fsprogs");
  }
  base::UniqueFd fd(::open(file.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return base::os_error("create private disk " + file.string());
  base::Status status;
  if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    status = base::os_error("size private disk " + file.string());
  } else {
    status = format(tool, file);
  }
  if (!status) ::unlink(file.c_str());
  return status;
}

}  // namespace sandforge::backend
