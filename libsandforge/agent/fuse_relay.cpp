// SPDX-License-Identifier: Apache-2.0
#include "agent/fuse_relay.hpp"

#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "agent/small_io.hpp"
#include "agent/workers.hpp"
#include "base/limits.hpp"

namespace sandforge::agent {

namespace {
constexpr std::size_t kStackSize = 64 * 1024;

struct Relay {
  base::UniqueFd fuse, stream;
  std::string target;

  // What waits for an answer fails, what comes later too.
  void abort() const noexcept { ::umount2(target.c_str(), MNT_FORCE | UMOUNT_NOFOLLOW); }
};

void carry_requests(const Relay& relay, std::vector<char>& buffer) {
  while (true) {
    const ssize_t n = ::read(relay.fuse.get(), buffer.data(), buffer.size());
    // ENOENT: the request was interrupted before it was read; ENODEV: the mount is gone.
    if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT)) continue;
    if (n <= 0) return;
    const std::string_view request(buffer.data(), static_cast<std::size_t>(n));
    if (!write_whole(relay.stream.get(), request, "file server")) return;
  }
}

void carry_answers(const Relay& relay, std::vector<char>& buffer) {
  while (true) {
    std::uint32_t length = 0;
    if (!read_whole(relay.stream.get(), buffer.data(), sizeof(length))) return;
    std::memcpy(&length, buffer.data(), sizeof(length));
    if (length < sizeof(fuse_out_header) || length > buffer.size()) return;
    if (!read_whole(relay.stream.get(), buffer.data() + sizeof(length), length - sizeof(length))) return;
    ssize_t n = 0;
    while ((n = ::write(relay.fuse.get(), buffer.data(), length)) < 0 && errno == EINTR) {
    }
    // ENOENT: nobody waits for this answer any more.
    if (n < 0 && errno != ENOENT) return;
  }
}

using Work = void (*)(const Relay& relay, std::vector<char>& buffer);
struct Start {
  std::shared_ptr<Relay> relay;
  Work work;
};

void* thread_main(void* argument) {
  const std::unique_ptr<Start> start(static_cast<Start*>(argument));
  std::vector<char> buffer(limits::kFsdMessageBytesMax);
  start->work(*start->relay, buffer);
  start->relay->abort();
  return nullptr;
}

base::Status start_carrying(const std::shared_ptr<Relay>& relay, Work work) {
  auto start = std::make_unique<Start>(Start{relay, work});
  if (const int error = start_thread(kStackSize, &thread_main, start.get())) {
    return base::os_error("start a thread", error);
  }
  [[maybe_unused]] Start* const owned_by_thread = start.release();
  return {};
}
}  // namespace

base::Status start_fuse_relay(base::UniqueFd stream, const std::string& target) {
  auto relay = std::make_shared<Relay>();
  relay->fuse.reset(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!relay->fuse) return base::os_error("open /dev/fuse");
  relay->stream = std::move(stream);
  relay->target = target;
  // default_permissions: the kernel checks modes against what the server shows, as on any local file system.
  const std::string options = "fd=" + std::to_string(relay->fuse.get()) +
                              ",rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other,max_read=1048576";
  if (::mount("sandforge", target.c_str(), "fuse.sandforge", MS_NOSUID | MS_NODEV, options.c_str()) != 0) {
    return base::os_error("mount the file server");
  }
  base::Status started = start_carrying(relay, &carry_answers);
  if (started) started = start_carrying(relay, &carry_requests);
  if (!started) relay->abort();
  return started;
}

}  // namespace sandforge::agent
