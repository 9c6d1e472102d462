// SPDX-License-Identifier: Apache-2.0
#include "agent/uevent.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>

#include "agent/channel.hpp"
#include "agent/clock.hpp"
#include "agent/small_io.hpp"

namespace sandforge::agent {

namespace {
struct DirectoryCloser {
  void operator()(DIR* directory) const noexcept { ::closedir(directory); }
};

// The entry of `directory` that starts with `prefix` and whose file `attribute` holds `value`.
std::string find_by_attribute(const char* directory, std::string_view prefix, const char* attribute,
                              std::string_view value) {
  const std::unique_ptr<DIR, DirectoryCloser> entries(::opendir(directory));
  if (!entries) return {};
  while (const dirent* entry = ::readdir(entries.get())) {
    const std::string_view name = entry->d_name;
    if (!name.starts_with(prefix)) continue;
    const std::string path = std::string(name) + "/" + attribute;
    const auto text = read_small_file(::dirfd(entries.get()), path.c_str(), 256);
    if (text && trimmed(text.value()) == value) return std::string(name);
  }
  return {};
}
}  // namespace

base::Result<base::UniqueFd> open_uevents() {
  base::UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT));
  if (!fd) return base::os_error("socket(NETLINK_KOBJECT_UEVENT)");
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = 1;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return base::os_error("bind(NETLINK_KOBJECT_UEVENT)");
  }
  return fd;
}

base::Status wait_for_device(int uevents, std::string_view what, int timeout_ms, const std::function<bool()>& found) {
  const std::int64_t deadline = monotonic_ns() + static_cast<std::int64_t>(timeout_ms) * 1'000'000;
  while (!found()) {
    const std::int64_t left_ms = (deadline - monotonic_ns()) / 1'000'000;
    pollfd events{uevents, POLLIN, 0};
    if (left_ms <= 0 || ::poll(&events, 1, static_cast<int>(left_ms)) == 0) {
      return base::make_error(base::Code::TimedOut, "device_missing", std::string(what) + " did not appear");
    }
    // What the events say does not matter (an overrun of the socket neither): each is a reason to look again.
    char text[4096];
    while (::recv(uevents, text, sizeof(text), MSG_DONTWAIT) >= 0) {
    }
  }
  return {};
}

std::string find_block_device(std::string_view serial) {
  return find_by_attribute("/sys/block", "vd", "serial", serial);
}

std::string find_virtio_port(std::string_view name) {
  return find_by_attribute("/sys/class/virtio-ports", "vport", "name", name);
}

base::Result<base::UniqueFd> open_virtio_port(int uevents, std::string_view name, int timeout_ms) {
  base::UniqueFd fd;
  int last_error = 0;
  const base::Status waited = wait_for_device(uevents, "virtio-serial port " + std::string(name), timeout_ms, [&] {
    const std::string port = find_virtio_port(name);
    if (port.empty()) return false;
    fd.reset(::open(("/dev/" + port).c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK));
    last_error = errno;
    return static_cast<bool>(fd) || last_error == EBUSY;
  });
  if (!waited) return base::Error(waited.error());
  if (!fd) return base::os_error("virtio-serial port", last_error);
  return fd;
}

}  // namespace sandforge::agent
