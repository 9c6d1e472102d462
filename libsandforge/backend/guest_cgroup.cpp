// SPDX-License-Identifier: Apache-2.0
#include "backend/guest_cgroup.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <string_view>
#include <system_error>
#include <utility>

#include "base/pseudo_file.hpp"

namespace sandforge::backend {
namespace {

constexpr const char* kHierarchy = "/sys/fs/cgroup";
constexpr const char* kNamePrefix = "sandforge-guest-";
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

// What is on already stays on; each by itself, since a place may have some of them only. After the first guest there is
// nothing left to write, and no lock of the whole hierarchy to wait for.
bool switch_on(const std::string& folder, const std::string& on, const char* controller) {
  if (has_word(on, controller)) return true;
  if (!has_word(base::read_pseudo_file(folder + "/cgroup.controllers"), controller)) return false;
  return static_cast<bool>(write_value(folder + "/cgroup.subtree_control", std::string("+") + controller));
}

}  // namespace

std::string CgroupPlace::describe() const {
  if (folder.empty() || (!memory && !pids && !cpu)) return "no control groups for limits";
  std::string missing;
  for (const auto& [there, name] : {std::pair{memory, "memory"}, std::pair{pids, "processes"}, std::pair{cpu, "CPU"}}) {
    if (!there) missing += std::string(missing.empty() ? "" : ", ") + name;
  }
  return "limits by control groups" + (missing.empty() ? missing : ", but not of " + missing);
}

CgroupPlace open_cgroup_place(std::string folder) {
  CgroupPlace place;
  place.folder = std::move(folder);
  const std::string on = base::read_pseudo_file(place.folder + "/cgroup.subtree_control");
  place.memory = switch_on(place.folder, on, "memory");
  place.pids = switch_on(place.folder, on, "pids");
  place.cpu = switch_on(place.folder, on, "cpu");
  return place;
}

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

CgroupPlace find_cgroup_place() {
  std::string folder = cgroup_folder();
  return folder.empty() ? CgroupPlace() : open_cgroup_place(std::move(folder));
}

std::vector<CgroupSetting> cgroup_settings(const CgroupPlace& place, const CgroupLimits& limits) {
  std::vector<CgroupSetting> settings;
  if (place.memory) {
    settings.push_back({"memory.max", std::to_string(limits.memory_bytes)});
    settings.push_back({"memory.swap.max", "0", true});  // absent without swap accounting
    settings.push_back({"memory.oom.group", "1", true});
  }
  if (place.pids) settings.push_back({"pids.max", std::to_string(limits.processes)});
  if (place.cpu) {
    settings.push_back({"cpu.max", std::to_string(limits.cpus * kPeriodUs) + " " + std::to_string(kPeriodUs)});
  }
  return settings;
}

std::string cgroup_owner(const std::filesystem::path& sandboxes) {
  struct stat info {};
  if (::stat(sandboxes.c_str(), &info) != 0) return {};
  return std::to_string(info.st_dev) + "-" + std::to_string(info.st_ino);
}

std::size_t remove_leftover_cgroups(const std::string& folder, const std::string& owner) {
  if (folder.empty() || owner.empty()) return 0;
  const std::string prefix = kNamePrefix + owner + "-";
  std::size_t removed = 0;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    // Refused by the kernel while a process is in it.
    if (entry->path().filename().string().starts_with(prefix) && ::rmdir(entry->path().c_str()) == 0) ++removed;
  }
  return removed;
}

GuestCgroup& GuestCgroup::operator=(GuestCgroup&& other) noexcept {
  std::swap(path_, other.path_);
  return *this;
}

GuestCgroup::~GuestCgroup() {
  if (!path_.empty()) (void)::rmdir(path_.c_str());
}

base::Result<GuestCgroup> GuestCgroup::create(const CgroupPlace& place, const std::string& owner,
                                              const CgroupLimits& limits) {
  const std::vector<CgroupSetting> settings = cgroup_settings(place, limits);
  if (place.folder.empty() || settings.empty()) return GuestCgroup();
  std::uint64_t random = 0;
  if (::getrandom(&random, sizeof random, 0) != static_cast<ssize_t>(sizeof random)) {
    return base::os_error("name a control group");
  }
  GuestCgroup group(place.folder + "/" + kNamePrefix + owner + "-" + std::to_string(random));
  if (::mkdir(group.path_.c_str(), 0755) != 0) {
    base::Error error = base::os_error("make control group " + group.path_);
    group.leave();
    return error;
  }
  for (const CgroupSetting& setting : settings) {
    const base::Status written = write_value(group.path_ + "/" + setting.file, setting.value);
    if (!written && !setting.may_fail) return base::Error(written.error());
  }
  return group;
}

base::Result<base::UniqueFd> GuestCgroup::open() const {
  base::UniqueFd folder(path_.empty() ? -1 : ::open(path_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder && !path_.empty()) return base::os_error("open control group " + path_);
  return folder;
}

}  // namespace sandforge::backend
