// SPDX-License-Identifier: Apache-2.0
// A virtio-fs device on a bench, with the far end of its socket as the file server.
#pragma once

#include <linux/fuse.h>
#include <sys/socket.h>

#include <cstring>
#include <deque>
#include <string>

#include "base/unique_fd.hpp"
#include "vmm/devices/fs.hpp"
#include "vmm/violations/bench.hpp"

namespace sandforge::vmm::test {

namespace fs {
inline constexpr std::uint32_t kHighPriority = 0, kRequests = 1;

// A request as a driver writes it; `length` 0: what it really is.
inline std::string request(std::uint32_t opcode, std::uint64_t unique, std::string_view body = {},
                           std::uint32_t length = 0) {
  fuse_in_header head{};
  head.len = length != 0 ? length : static_cast<std::uint32_t>(sizeof head + body.size());
  head.opcode = opcode;
  head.unique = unique;
  // SAFETY: any bytes may be looked at as char.
  return std::string(reinterpret_cast<const char*>(&head), sizeof head).append(body);
}
inline std::string answer(std::uint64_t unique, std::string_view body = {}, std::int32_t error = 0,
                          std::uint32_t length = 0) {
  fuse_out_header head{};
  head.len = length != 0 ? length : static_cast<std::uint32_t>(sizeof head + body.size());
  head.error = error;
  head.unique = unique;
  // SAFETY: any bytes may be looked at as char.
  return std::string(reinterpret_cast<const char*>(&head), sizeof head).append(body);
}
}  // namespace fs

class FsBench : public Bench {
 public:
  FsBench() : Bench(2) {}

  void send(std::string_view request, std::uint32_t writable = 512, std::uint32_t queue = fs::kRequests) {
    driver.offer(queue, request, writable);
    kick(queue);
  }
  // What the device sent to the server since the last call, message by message.
  std::deque<std::string> received() {
    std::string part(1 << 20, '\0');
    for (ssize_t n = 0; (n = ::recv(server.get(), part.data(), part.size(), MSG_DONTWAIT)) > 0;) {
      stream_.append(part, 0, static_cast<std::size_t>(n));
      settle();
    }
    std::deque<std::string> out;
    for (std::uint32_t length = 0; stream_.size() >= sizeof length;) {
      std::memcpy(&length, stream_.data(), sizeof length);
      REQUIRE(length >= sizeof(fuse_in_header));
      if (length > stream_.size()) break;
      out.push_back(stream_.substr(0, length));
      stream_.erase(0, length);
    }
    return out;
  }
  static std::uint64_t number_of(const std::string& message) {
    fuse_in_header head{};
    REQUIRE(message.size() >= sizeof head);
    std::memcpy(&head, message.data(), sizeof head);
    return head.unique;
  }
  void say(std::string_view bytes) {
    REQUIRE(::send(server.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT) ==
            static_cast<ssize_t>(bytes.size()));
    settle();
  }
  // The one answer that came on the request queue; empty when none or more did.
  std::string answered(std::uint32_t queue = fs::kRequests) {
    const auto used = driver.used(queue);
    return used.size() == 1 ? used.front() : std::string();
  }
  void hang_up() {
    server.reset();
    settle();
  }
  bool lost() const {
    char byte = 0;
    const ssize_t n = ::recv(server.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK);
    return n == 0 || (n < 0 && errno == ECONNRESET);  // the latter when it left something unread
  }
  void use() override {
    for (const std::uint32_t queue : {fs::kRequests, fs::kHighPriority}) (void)driver.used(queue);
    if (server && !lost()) {
      (void)received();
      send(fs::request(FUSE_GETATTR, 7, "body"));
      const auto messages = received();
      REQUIRE(messages.size() == 1);
      say(fs::answer(number_of(messages[0]), "attributes"));
      CHECK(answered() == fs::answer(7, "attributes"));
    } else {
      send(fs::request(FUSE_GETATTR, 7, "body"));
      CHECK(answered() == fs::answer(7, {}, -EIO));
    }
  }
  // Honest by its form, so that what it points to is looked at.
  void look(std::uint32_t queue) override { kick(queue); }

  base::UniqueFd server;

 protected:
  std::unique_ptr<Device> make() override {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    server.reset(ends[0]);
    return std::make_unique<Fs>(FsOptions{base::UniqueFd(ends[1]), "sandforge"}, watcher);
  }

 private:
  std::string stream_;
};

}  // namespace sandforge::vmm::test
