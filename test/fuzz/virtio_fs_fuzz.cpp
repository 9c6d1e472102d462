// SPDX-License-Identifier: Apache-2.0
// Fuzz target: virtio-fs between a hostile guest and a file server that is as hostile. Every turn ends, and a reset
// leaves nothing behind.
#include <linux/fuse.h>
#include <sys/socket.h>

#include "base/unique_fd.hpp"
#include "device_script.hpp"
#include "vmm/devices/fs.hpp"
#include "vmm/devices/poll_watcher.hpp"

namespace {

using namespace sandforge;
using namespace sandforge::vmm;
using namespace sandforge::vmm::test;

class Game {
 public:
  Game(const std::uint8_t* data, std::size_t size) : in_(data, size), scripted_(make()) {}

  void play() {
    must(scripted_.driver.start(scripted_.transport));
    while (!in_.done()) {
      const std::uint32_t what = in_.below(20);
      if (what < ScriptedDevice::kSteps) {
        scripted_.step(what, in_);
      } else if (what < 13) {
        request();
      } else if (what < 17) {
        answer();
      } else if (what < 19) {
        char sink[8192];
        (void)::recv(server_.get(), sink, 1 + in_.take<std::uint16_t>() % sizeof sink, MSG_DONTWAIT);
      } else if (in_.below(16) == 0) {
        server_.reset();
      } else {
        scripted_.come_back();
      }
      turns(1 + in_.below(3));
    }
    int quiet = 0;
    while (quiet < 5000 && watcher_.poll() > 0) scripted_.run_again(), ++quiet;
    must(quiet < 5000);
    scripted_.come_back();
  }

 private:
  std::unique_ptr<Device> make() {
    int ends[2];
    must(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    server_.reset(ends[0]);
    return std::make_unique<Fs>(FsOptions{base::UniqueFd(ends[1]), "sandforge"}, watcher_);
  }
  void turns(std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i) watcher_.poll(), scripted_.run_again();
    must(watcher_.size() <= 1);
  }
  void request() {
    fuse_in_header head{};
    const std::string body(in_.below(8) == 0 ? in_.take<std::uint16_t>() : in_.below(64), 'b');
    head.len = static_cast<std::uint32_t>(sizeof head + body.size());
    if (in_.below(32) == 31) head.len = in_.take<std::uint32_t>();
    head.opcode = in_.below(54);
    head.unique = in_.below(8);
    const std::uint32_t queue = in_.below(2);
    // SAFETY: any bytes may be looked at as char.
    scripted_.driver.offer(queue, std::string(reinterpret_cast<const char*>(&head), sizeof head) + body,
                           in_.below(4) == 0 ? in_.below(32) : 512);
    scripted_.kick(queue);
  }
  // Numbers as the device gives them out, so that they are often those of requests.
  void answer() {
    fuse_out_header head{};
    const std::string body(in_.take<std::uint8_t>(), 'a');
    head.len = static_cast<std::uint32_t>(sizeof head + body.size());
    if (in_.below(32) == 31) head.len = in_.take<std::uint32_t>();
    head.unique = 2ull * in_.take<std::uint8_t>();
    // SAFETY: any bytes may be looked at as char.
    std::string bytes = std::string(reinterpret_cast<const char*>(&head), sizeof head) + body;
    if (in_.below(8) == 0) bytes.resize(in_.below(64));
    if (server_) (void)::send(server_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }

  ScriptReader in_;
  base::UniqueFd server_;
  PollWatcher watcher_;
  ScriptedDevice scripted_;  // last: it uses the watcher until its end
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Game(data, size).play();
  return 0;
}
