// SPDX-License-Identifier: Apache-2.0
#include "agent/cgroup.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <string_view>

#include "agent/small_io.hpp"

namespace sandforge::agent {

namespace {
constexpr std::uint32_t kCpuPeriodUs = 100'000;

// The number behind `key` in a file of "key number" lines; 0 when there is none.
std::uint64_t value_of(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (line.size() <= key.size() || !line.starts_with(key) || line[key.size()] != ' ') continue;
    std::uint64_t value = 0;
    std::from_chars(line.data() + key.size() + 1, line.data() + line.size(), value);
    return value;
  }
  return 0;
}

base::Error cannot_limit(const char* what) {
  return base::make_error(base::Code::Unsupported, "limit_unavailable",
                          std::string(what) + " cannot be limited: the guest's kernel lacks the control group for it");
}
}  // namespace

base::Status CgroupRoot::open(const char* path) {
  const base::UniqueFd root(::open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root) return base::os_error(path);
  if (::mkdirat(root.get(), "tasks", 0755) != 0 && errno != EEXIST) return base::os_error("mkdir tasks");
  tasks_.reset(::openat(root.get(), "tasks", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!tasks_) return base::os_error("open tasks");
  // One by one: what this kernel lacks must not keep the others away. create() tells what is missing.
  for (const char* controller : {"+memory", "+pids", "+cpu"}) {
    (void)write_small_file(root.get(), "cgroup.subtree_control", controller);
    (void)write_small_file(tasks_.get(), "cgroup.subtree_control", controller);
  }
  return {};
}

base::Result<Cgroup> CgroupRoot::create(const CgroupLimits& limits) {
  Cgroup group;
  if (!available()) {
    if (limits.memory_max != 0 || limits.pids_max != 0 || limits.cpu_max_milli != 0) return cannot_limit("a task");
    return group;
  }
  const std::string name = std::to_string(next_++);
  if (::mkdirat(tasks_.get(), name.c_str(), 0755) != 0) return base::os_error("mkdir of a control group");
  group.parent_ = tasks_.get();
  group.name_ = name;
  group.directory_.reset(::openat(tasks_.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!group.directory_) return base::os_error("open of a control group");
  group.events_.reset(::openat(group.directory(), "cgroup.events", O_RDONLY | O_CLOEXEC));
  if (!group.events_) return base::os_error("cgroup.events");
  // The whole task dies with the first process that the memory killer takes.
  (void)write_small_file(group.directory(), "memory.oom.group", "1");
  if (limits.memory_max != 0) {
    if (!write_small_file(group.directory(), "memory.max", std::to_string(limits.memory_max))) {
      return cannot_limit("memory");
    }
    (void)write_small_file(group.directory(), "memory.swap.max", "0");
  }
  if (limits.pids_max != 0 && !write_small_file(group.directory(), "pids.max", std::to_string(limits.pids_max))) {
    return cannot_limit("the number of processes");
  }
  if (limits.cpu_max_milli != 0) {
    const std::uint64_t quota = static_cast<std::uint64_t>(limits.cpu_max_milli) * kCpuPeriodUs / 1000;
    // The kernel takes no quota below one millisecond.
    const std::string text = std::to_string(quota < 1000 ? 1000 : quota) + " " + std::to_string(kCpuPeriodUs);
    if (!write_small_file(group.directory(), "cpu.max", text)) return cannot_limit("CPU time");
  }
  return group;
}

Cgroup::~Cgroup() {
  if (!directory_) return;
  events_.reset();
  directory_.reset();
  ::unlinkat(parent_, name_.c_str(), AT_REMOVEDIR);
}

void Cgroup::adopt(Cgroup&& other) noexcept {
  parent_ = other.parent_;
  name_ = std::move(other.name_);
  directory_ = std::move(other.directory_);
  events_ = std::move(other.events_);
}

bool Cgroup::populated() const {
  const auto text = read_open_file(events_.get(), 256);
  return !text || value_of(text.value(), "populated") != 0;
}

void Cgroup::kill() noexcept { (void)write_small_file(directory(), "cgroup.kill", "1"); }

bool Cgroup::out_of_memory() const {
  const auto text = read_small_file(directory(), "memory.events", 512);
  return text && value_of(text.value(), "oom_kill") != 0;
}

CgroupUsage Cgroup::usage() const {
  CgroupUsage usage;
  if (const auto text = read_small_file(directory(), "cpu.stat", 1024)) {
    usage.cpu_ns = value_of(text.value(), "usage_usec") * 1000;
  }
  if (const auto text = read_small_file(directory(), "memory.peak", 64)) {
    std::from_chars(text.value().data(), text.value().data() + text.value().size(), usage.memory_peak);
  }
  return usage;
}

}  // namespace sandforge::agent
