// SPDX-License-Identifier: Apache-2.0
// A scripted agent on the other end of a session's socket: it says exactly the bytes that a test gives it.
#pragma once

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent_client/fixture.hpp"
#include "wire/frames.hpp"

namespace sandforge::test {

inline std::string frame_of(wire::FrameType type, std::uint8_t flags, std::uint32_t stream,
                            std::string_view payload = {}) {
  std::string out;
  wire::append_frame(out, type, flags, stream, payload);
  return out;
}
inline std::string u32(std::uint32_t value) { return std::string(reinterpret_cast<const char*>(&value), sizeof value); }
inline std::string hello_of(const wire::Hello& hello = {}) {
  return frame_of(wire::FrameType::Hello, 0, 0, wire::encode(hello));
}
inline std::string result_of(std::string body = {}, base::Code code = base::Code::Ok) {
  wire::ResultHeader header;
  header.code = code;
  header.body = std::move(body);
  return wire::encode(header);
}

struct RawPeer {
  RawPeer() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    socket.reset(ends[1]);
    log.loop = &loop;
    session = agent_client::start_session(loop, base::UniqueFd(ends[0]), {"entropy", "name", ""}, log);
  }

  void say(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count < 0 && errno == EAGAIN) {
        turn();
        continue;
      }
      if (count <= 0) return;  // the session hung up: the test looks at why
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
  }
  // Lets the session work on what it has.
  void turn() {
    int turns = 0;
    std::function<void()> next = [&] { ++turns > 6 ? loop.stop() : loop.post(next); };
    loop.post(next);
    while (turns <= 6) loop.run();  // events stop it early
  }
  void ready() {
    say(hello_of());
    REQUIRE(run_until(loop, [&] { return log.hello.has_value(); }));
  }
  bool lost() {
    return run_until(
        loop, [&] { return log.lost.has_value(); }, std::chrono::seconds(5));
  }

  // All frames that the session has written so far.
  struct Heard {
    wire::FrameHeader header;
    std::string payload;
  };
  std::vector<Heard> hear() {
    turn();
    std::vector<Heard> heard;
    std::string buffer(1 << 20, '\0');
    for (;;) {
      const ssize_t count = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
      if (count <= 0) break;
      parser.feed(std::string_view(buffer).substr(0, static_cast<std::size_t>(count)));
      for (auto next = parser.next(); next && next->has_frame; next = parser.next()) {
        heard.push_back({next->frame.header, std::string(next->frame.payload)});
      }
      turn();
    }
    return heard;
  }

  std::unique_ptr<StreamLog> open(std::string request) { return open_stream(loop, *session, std::move(request)); }
  template <typename Request>
  std::unique_ptr<StreamLog> open(wire::Operation operation, const Request& request) {
    return open(wire::encode_open(operation, request));
  }

  base::EventLoop loop;
  SessionLog log;
  base::UniqueFd socket;
  wire::FrameParser parser;
  std::unique_ptr<agent_client::Session> session;
};

}  // namespace sandforge::test
