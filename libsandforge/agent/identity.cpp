// SPDX-License-Identifier: Apache-2.0
#include "agent/identity.hpp"

#include <fcntl.h>
#include <linux/random.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cstring>
#include <memory>

#include "agent/rooted_path.hpp"
#include "agent/small_io.hpp"
#include "agent/syscalls.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::agent {

namespace {
constexpr std::size_t kHostsMax = 64 * 1024;
constexpr std::string_view kOwnAddress = "127.0.1.1\t";

base::Status replace_file(int root, const std::string& path, std::string_view text) {
  SANDFORGE_TRY(const base::UniqueFd fd,
                open_in_root(root, path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK, 0644,
                             RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return base::os_error(path);
  if (!S_ISREG(info.st_mode)) return base::os_error(path, EINVAL);
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) return base::os_error(path);
  return {};
}

// The guest's own name resolves, whatever else its image wrote there.
std::string hosts_with(std::string_view old, std::string_view hostname) {
  std::string text;
  while (!old.empty()) {
    const std::size_t end = old.find('\n');
    const std::string_view line = old.substr(0, end);
    old = end == std::string_view::npos ? std::string_view() : old.substr(end + 1);
    if (!line.starts_with(kOwnAddress)) text.append(line).push_back('\n');
  }
  if (text.find("localhost") == std::string::npos) text += "127.0.0.1\tlocalhost\n::1\tlocalhost\n";
  return text.append(kOwnAddress).append(hostname).append("\n");
}

bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }
bool is_name(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.' || c == '_';
}

template <typename Predicate>
bool all_of(std::string_view text, Predicate predicate) {
  for (const char c : text) {
    if (!predicate(c)) return false;
  }
  return true;
}
}  // namespace

base::Status set_clock(std::int64_t realtime_ns) {
  if (realtime_ns < 0) return base::make_error(base::Code::InvalidArgument, "bad_clock", "the clock is before 1970");
  const timespec time{static_cast<time_t>(realtime_ns / 1'000'000'000), static_cast<long>(realtime_ns % 1'000'000'000)};
  if (::clock_settime(CLOCK_REALTIME, &time) != 0) return base::os_error("clock_settime");
  return {};
}

base::Status add_entropy(std::string_view bytes) {
  constexpr std::size_t kMax = 512;
  struct Pool {
    int entropy_count;
    int buf_size;
    char buf[kMax];
  } pool{};
  static_assert(offsetof(Pool, buf) == sizeof(rand_pool_info));
  bytes = bytes.substr(0, kMax);
  if (bytes.empty()) return {};
  pool.entropy_count = static_cast<int>(bytes.size() * 8);
  pool.buf_size = static_cast<int>(bytes.size());
  std::memcpy(pool.buf, bytes.data(), bytes.size());
  const base::UniqueFd random(::open("/dev/urandom", O_RDWR | O_CLOEXEC));
  if (!random) return base::os_error("/dev/urandom");
  if (::ioctl(random.get(), RNDADDENTROPY, &pool) != 0) return base::os_error("RNDADDENTROPY");
  if (::ioctl(random.get(), RNDRESEEDCRNG) != 0) return base::os_error("RNDRESEEDCRNG");
  return {};
}

base::Status check_identity(std::string_view hostname, std::string_view machine_id) {
  if (hostname.size() > 63 || !all_of(hostname, is_name)) {
    return base::make_error(base::Code::InvalidArgument, "bad_hostname", "the host name is not one");
  }
  if (!machine_id.empty() && (machine_id.size() != 32 || !all_of(machine_id, is_hex))) {
    return base::make_error(base::Code::InvalidArgument, "bad_machine_id", "the machine id is not 32 hex digits");
  }
  return {};
}

base::Status set_identity(int root, const std::string& hostname, const std::string& machine_id, bool in_guest) {
  SANDFORGE_TRY_STATUS(check_identity(hostname, machine_id));
  if (!machine_id.empty()) SANDFORGE_TRY_STATUS(replace_file(root, "/etc/machine-id", machine_id + "\n"));
  if (hostname.empty()) return {};
  if (in_guest && ::sethostname(hostname.data(), hostname.size()) != 0) return base::os_error("sethostname");
  SANDFORGE_TRY_STATUS(replace_file(root, "/etc/hostname", hostname + "\n"));
  std::string old;
  const auto hosts = open_in_root(root, "/etc/hosts", O_RDONLY | O_NONBLOCK, 0, RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS);
  if (hosts) {
    auto text = read_open_file(hosts.value().get(), kHostsMax);
    if (text) old = std::move(text).value();
  }
  return replace_file(root, "/etc/hosts", hosts_with(old, hostname));
}

}  // namespace sandforge::agent
