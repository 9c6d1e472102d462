// SPDX-License-Identifier: Apache-2.0
#include "backend/guest_cgroup.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <string_view>

#include "base/pseudo_file.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::backend {
namespace {

constexpr const char* kHierarchy = "/sys/fs/cgroup";
constexpr std::uint64_t kPeriodUs = 100'000;

base::Status write_value(const std::string& file, const std::string& value) {
  const base::UniqueFd fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd || ::write(fd.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size())) {
    return base::os_error("write " + file);
  }
  return {};
}

bool is_ours(const std::string& folder) {
  char mark = 0;
  for (const char* attribute : {"trusted.delegate", "user.delegate"}) {
    if (::getxattr(folder.c_str(), attribute, &mark, 1) == 1 && mark == '1') return true;
  }
  struct stat info {};
  return ::geteuid() != 0 && ::stat(folder.c_str(), &info) == 0 && info.st_uid == ::geteuid();
}

bool has_word(std::string_view text, std::string_view word) {
  for (std::size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    if ((at == 0 || text[at - 1] == ' ') && (end == text.size() || text[end] == ' ')) return true;
  }
  return false;
}

}  // namespace

std::string cgroup_folder() {
  struct statfs info {};
  if (::statfs(kHierarchy, &info) != 0 || info.f_type != CGROUP2_SUPER_MAGIC) return {};
  const std::string own =
      base::read_pseudo_file("/proc/self/cgroup");  // "0::/path" and nothing else: no hierarchy of version 1
  constexpr std::string_view kPrefix = "0::/";
  if (!own.starts_with(kPrefix) || own.find('\n') != std::string::npos) return {};
  std::string folder = kHierarchy;
  if (own.size() > kPrefix.size()) {
    folder += own.substr(3);
    folder.resize(folder.rfind('/'));
    if (!is_ours(folder)) return {};
  }
  return ::access((folder + "/cgroup.subtree_control").c_str(), W_OK) == 0 ? folder : std::string();
}

GuestCgroup& GuestCgroup::operator=(GuestCgroup&& other) noexcept {
  std::swap(path_, other.path_);
  return *this;
}

GuestCgroup::~GuestCgroup() {
  if (!path_.empty()) (void)::rmdir(path_.c_str());
}

base::Result<GuestCgroup> GuestCgroup::create(const std::string& name, const CgroupLimits& limits) {
  const std::string folder = cgroup_folder();
  if (folder.empty()) return GuestCgroup();
  const std::string control = folder + "/cgroup.subtree_control";
  std::string on = base::read_pseudo_file(control);
  // What is on already stays on; each by itself, since a container may have some of them only. After the first guest
  // there is nothing left to write, and no lock of the whole hierarchy to wait for.
  for (const char* controller : {"memory", "pids", "cpu"}) {
    if (!has_word(on, controller) && write_value(control, std::string("+") + controller)) {
      on += std::string(" ") + controller;
    }
  }
  if (!has_word(on, "memory")) return GuestCgroup();
  GuestCgroup group(folder + "/" + name);
  if (::mkdir(group.path_.c_str(), 0755) != 0) {
    base::Error error = base::os_error("make control group " + group.path_);
    group.leave();
    return error;
  }
  SANDFORGE_TRY_STATUS(write_value(group.path_ + "/memory.max", std::to_string(limits.memory_bytes)));
  (void)write_value(group.path_ + "/memory.swap.max", "0");  // absent without swap accounting
  (void)write_value(group.path_ + "/memory.oom.group", "1");
  if (has_word(on, "pids")) {
    SANDFORGE_TRY_STATUS(write_value(group.path_ + "/pids.max", std::to_string(limits.processes)));
  }
  if (has_word(on, "cpu")) {
    const std::string quota = std::to_string(limits.cpus * kPeriodUs) + " " + std::to_string(kPeriodUs);
    SANDFORGE_TRY_STATUS(write_value(group.path_ + "/cpu.max", quota));
  }
  return group;
}

base::Status GuestCgroup::add(pid_t process) const {
  if (path_.empty()) return {};
  return write_value(path_ + "/cgroup.procs", std::to_string(process));
}

}  // namespace sandforge::backend
