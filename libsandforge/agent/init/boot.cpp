// SPDX-License-Identifier: Apache-2.0
#include "agent/init/boot.hpp"

#include <fcntl.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <cstring>
#include <string_view>

#include "agent/init/modules.hpp"
#include "agent/init/mounts.hpp"
#include "agent/init/timer_check.hpp"
#include "agent/small_io.hpp"
#include "agent/uevent.hpp"

namespace sandforge::agent {

namespace {
constexpr unsigned long kPseudo = MS_NOSUID | MS_NODEV | MS_NOEXEC;

// Descriptors 0, 1 and 2 become the console, or /dev/null where there is none: later descriptors are above them.
void open_console(Console& console) {
  int fd = ::open("/dev/console", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int target = 0; fd >= 0 && target <= 2; ++target) {
    if (fd != target) ::dup2(fd, target);
  }
  if (fd > 2) ::close(fd);
  console.use(2);
}

base::Status bring_loopback_up() {
  const base::UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return base::os_error("socket");
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (::ioctl(fd.get(), SIOCSIFFLAGS, &request) != 0) return base::os_error("lo up");
  return {};
}

// The value of `key=` on the kernel command line, "" without one.
std::string command_line_value(std::string_view key) {
  const auto line = read_small_file(AT_FDCWD, "/proc/cmdline", 8192);
  if (!line) return {};
  std::string_view rest = trimmed(line.value());
  while (!rest.empty()) {
    const std::size_t end = rest.find(' ');
    const std::string_view word = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    if (word.size() > key.size() && word.starts_with(key) && word[key.size()] == '=') {
      return std::string(word.substr(key.size() + 1));
    }
  }
  return {};
}

// Only where the host says how fast the timer is: where it is not measured, nothing can have gone wrong.
base::Status check_timer_of_host() {
  constexpr std::size_t kListMax = 256 * 1024;
  const std::string expected = command_line_value("sandforge.timer_khz");
  std::uint64_t khz = 0;
  std::from_chars(expected.data(), expected.data() + expected.size(), khz);
  if (khz == 0) return {};
  SANDFORGE_TRY(const std::string list, read_small_file(AT_FDCWD, "/proc/timer_list", kListMax));
  return check_timer(list, khz);
}

base::Result<Booted> open_channel(int uevents) {
  Booted booted;
  const std::string choice = command_line_value("sandforge.channel");
  // The agent listens, or it connects to the host.
  constexpr std::string_view kListen = "vsock:", kDial = "vsock-out:";
  if (choice.empty() || choice == "virtio-serial") {
    SANDFORGE_TRY(booted.channel, open_virtio_port(uevents, kPortName, kDeviceTimeoutMs));
    return booted;
  }
  std::uint32_t port = 0;
  const bool dials = choice.starts_with(kDial);
  const std::string_view prefix = dials ? kDial : kListen;
  const std::string_view number = std::string_view(choice).substr(std::min(prefix.size(), choice.size()));
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), port);
  if (!choice.starts_with(prefix) || error != std::errc() || end != number.data() + number.size()) {
    return base::make_error(base::Code::InvalidArgument, "bad_channel", "sandforge.channel=" + choice.substr(0, 64),
                            "use virtio-serial, vsock:PORT or vsock-out:PORT");
  }
  booted.channel_kind = dials ? Channel::Kind::Dialer : Channel::Kind::Listener;
  booted.channel_port = port;
  SANDFORGE_TRY(booted.channel, dials ? dial_vsock(port) : listen_vsock(port));
  return booted;
}

void keep_out_of_memory_killer_away() {
  (void)write_small_file(AT_FDCWD, "/proc/self/oom_score_adj", "-1000");
  const rlimit files{65536, 1048576};
  ::setrlimit(RLIMIT_NOFILE, &files);
}
}  // namespace

base::Result<Booted> boot(Console& console) {
  const base::UniqueFd initramfs(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  base::UniqueFd modules(::open("/modules", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  SANDFORGE_TRY_STATUS(enter_memory_root());
  SANDFORGE_TRY_STATUS(mount_at("dev", "/dev", "devtmpfs", MS_NOSUID | MS_NOEXEC));
  open_console(console);
  SANDFORGE_TRY_STATUS(mount_at("proc", "/proc", "proc", kPseudo));
  SANDFORGE_TRY_STATUS(mount_at("sysfs", "/sys", "sysfs", kPseudo));
  keep_out_of_memory_killer_away();
  SANDFORGE_TRY_STATUS(check_timer_of_host());

  SANDFORGE_TRY(const base::UniqueFd uevents, open_uevents());
  load_modules(modules.get(), kBootModules, console);
  remove_files(initramfs.get());

  std::string root_device, disk_device;
  SANDFORGE_TRY_STATUS(wait_for_device(uevents.get(), "block device with serial root and disk", kDeviceTimeoutMs, [&] {
    if (root_device.empty()) root_device = find_block_device("root");
    if (disk_device.empty()) disk_device = find_block_device("disk");
    return !root_device.empty() && !disk_device.empty();
  }));
  SANDFORGE_TRY_STATUS(mount_root(root_device, disk_device, kNewRoot));
  SANDFORGE_TRY_STATUS(fill_root(kNewRoot));
  SANDFORGE_TRY_STATUS(mount_at("cgroup2", kCgroupMount, "cgroup2", kPseudo, "nsdelegate"));
  if (const base::Status up = bring_loopback_up(); !up) console.line(up.error().message);
  SANDFORGE_TRY(Booted booted, open_channel(uevents.get()));
  booted.modules = std::move(modules);
  return booted;
}

void power_off(Console& console) {
  ::sync();
  // Tasks are dead by now; a lazy unmount lets the file systems end in order, the disk's last.
  ::umount2(kNewRoot, MNT_DETACH);
  ::umount2("/mnt/disk", 0);
  ::sync();
  ::reboot(RB_POWER_OFF);
  console.line("power off failed, resetting");
  ::reboot(RB_AUTOBOOT);
}

}  // namespace sandforge::agent
