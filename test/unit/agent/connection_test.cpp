// SPDX-License-Identifier: Apache-2.0
// Connection and pumps over a socket pair: order of frames, windows, and what a broken peer gets.
#include "agent/connection.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <map>

#include "agent/pumps.hpp"

using namespace sandforge;
using wire::FrameType;

namespace {
// What the fake operations below were told.
struct Script {
  std::string received;
  int ended = 0, cancelled = 0, abandoned = 0;
  std::uint64_t credited = 0;
  agent::Stream* stream = nullptr;
};

class FakeOperation final : public agent::Operation {
 public:
  FakeOperation(Script& script, agent::Stream& stream) : script_(script) { script_.stream = &stream; }
  void start() override {}
  bool data(std::uint8_t channel, std::string_view bytes) override {
    script_.received += bytes;
    return channel == 0;
  }
  bool end(std::uint8_t) override { return ++script_.ended > 0; }
  void credit(std::uint8_t, std::uint32_t bytes) override { script_.credited += bytes; }
  void cancel() override { ++script_.cancelled; }
  void abandon() override { ++script_.abandoned; }

 private:
  Script& script_;
};

// A connection with the host's end of its socket in our hands.
class Rig final : public agent::Services, private agent::ChannelEvents {
 public:
  Rig() : channel_(loop_, *this), connection_(loop_, channel_, *this) {
    REQUIRE(loop_.open());
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    host_.reset(ends[0]);
    REQUIRE(::fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
    REQUIRE(channel_.start(agent::Channel::Kind::Given, base::UniqueFd(ends[1])));
    connection_.start();
  }

  wire::Hello hello() override {
    wire::Hello hello;
    hello.nonce = 7;
    return hello;
  }
  base::Status welcome(const wire::Welcome&) override { return {}; }
  base::Result<std::shared_ptr<agent::Operation>> make_operation(const wire::Open&, agent::Stream& stream) override {
    return std::shared_ptr<agent::Operation>(std::make_shared<FakeOperation>(script, stream));
  }
  void log(std::string_view) override {}

  base::Status feed(FrameType type, std::uint8_t flags, std::uint32_t stream, std::string_view payload = {}) {
    std::string bytes;
    wire::append_frame(bytes, type, flags, stream, payload);
    return connection_.received(bytes);
  }
  void welcome_and_open() {
    wire::Welcome welcome;
    welcome.nonce = 7;
    REQUIRE(feed(FrameType::Welcome, 0, 0, wire::encode(welcome)));
    REQUIRE(feed(FrameType::Open, 0, 1, wire::encode_open(wire::Operation::FileStat, wire::PathRequest{"/", 0, 0})));
  }
  // One round of the loop and what it deferred; the frames that the host got.
  std::vector<std::pair<FrameType, std::string>> frames() {
    loop_.post([this] { loop_.stop(); });
    loop_.run();
    char buffer[65536];
    ssize_t n = 0;
    while ((n = ::read(host_.get(), buffer, sizeof(buffer))) > 0) {
      parser_.feed({buffer, static_cast<std::size_t>(n)});
    }
    std::vector<std::pair<FrameType, std::string>> found;
    while (true) {
      const auto next = parser_.next();
      REQUIRE(next);
      if (!next.value().has_frame) return found;
      found.emplace_back(next.value().frame.header.type, next.value().frame.payload);
    }
  }

  Script script;
  agent::Loop loop_;

 private:
  void connected() override {}
  void received(std::string_view) override {}
  void drained() override {}
  void disconnected() override {}

  base::UniqueFd host_;
  wire::FrameParser parser_;
  agent::Channel channel_;
  agent::Connection connection_;
};
}  // namespace

TEST_CASE("the agent speaks first, and a stream before Welcome breaks the connection") {
  Rig rig;
  const auto frames = rig.frames();
  REQUIRE(frames.size() == 1);
  CHECK(frames[0].first == FrameType::Hello);
  CHECK(wire::decode<wire::Hello>(frames[0].second).value().nonce == 7);
  CHECK_FALSE(rig.feed(FrameType::Open, 0, 1, wire::encode_open(wire::Operation::Shutdown, wire::PathRequest{})));
}

TEST_CASE("a Welcome for another boot or of another version breaks the connection") {
  wire::Welcome other_boot;
  other_boot.nonce = 8;
  CHECK_FALSE(Rig().feed(FrameType::Welcome, 0, 0, wire::encode(other_boot)));
  wire::Welcome other_version;
  other_version.nonce = 7;
  other_version.version = 2;
  CHECK_FALSE(Rig().feed(FrameType::Welcome, 0, 0, wire::encode(other_version)));
}

TEST_CASE("frames reach their operation and the result ends the stream") {
  Rig rig;
  rig.welcome_and_open();
  CHECK(rig.feed(FrameType::Data, 0, 1, "abc"));
  CHECK(rig.feed(FrameType::Credit, 1, 1, std::string("\x05\0\0\0", 4)));
  CHECK(rig.feed(FrameType::End, 0, 1));
  CHECK(rig.feed(FrameType::Cancel, 0, 1));
  CHECK(rig.script.received == "abc");
  CHECK(rig.script.credited == 5);
  CHECK(rig.script.ended == 1);
  CHECK(rig.script.cancelled == 1);
  rig.script.stream->finish({});
  CHECK(rig.feed(FrameType::Data, 0, 1, "crossed"));  // ignored, not a fault
  const auto frames = rig.frames();
  CHECK(frames.back().first == FrameType::Result);
  CHECK(rig.feed(FrameType::Data, 0, 1, "late"));
  CHECK(rig.script.received == "abc");
}

TEST_CASE("a peer that breaks the order or the window is refused") {
  const auto refused = [](auto&& talk) {
    Rig rig;
    rig.welcome_and_open();
    CHECK_FALSE(talk(rig));
  };
  refused([](Rig& rig) { return rig.feed(FrameType::Data, 1, 1, "wrong channel"); });
  refused([](Rig& rig) { return rig.feed(FrameType::Data, 0, 2, "never opened"); });
  refused([](Rig& rig) { return rig.feed(FrameType::Data, 0, 0, "no stream"); });
  refused([](Rig& rig) { return rig.feed(FrameType::Meta, 0, 1, ""); });
  refused([](Rig& rig) { return rig.feed(FrameType::Result, 0, 1, ""); });
  refused([](Rig& rig) { return rig.feed(FrameType::Hello, 0, 0, ""); });
  refused([](Rig& rig) { return rig.feed(FrameType::Credit, 0, 1, "ab"); });
  refused([](Rig& rig) { return rig.feed(FrameType::Signal, 0, 1, ""); });
  refused([](Rig& rig) {
    (void)rig.feed(FrameType::End, 0, 1);
    return rig.feed(FrameType::Data, 0, 1, "after End");
  });
  refused([](Rig& rig) {
    (void)rig.feed(FrameType::End, 0, 1);
    return rig.feed(FrameType::End, 0, 1);
  });
  refused([](Rig& rig) {
    return rig.feed(FrameType::Open, 0, 1, wire::encode_open(wire::Operation::FileStat, wire::PathRequest{}));
  });
  refused([](Rig& rig) {
    for (int i = 0; i < 4; ++i) (void)rig.feed(FrameType::Data, 0, 1, std::string(limits::kFramePayloadMax, 'x'));
    return rig.feed(FrameType::Data, 0, 1, "one too many");
  });
}

TEST_CASE("credit that the agent gave opens the window again") {
  Rig rig;
  rig.welcome_and_open();
  const std::string piece(limits::kFramePayloadMax, 'x');
  for (int i = 0; i < 4; ++i) CHECK(rig.feed(FrameType::Data, 0, 1, piece));
  rig.script.stream->give_credit(0, static_cast<std::uint32_t>(piece.size()));
  CHECK(rig.feed(FrameType::Data, 0, 1, piece));
  CHECK_FALSE(rig.feed(FrameType::Data, 0, 1, "x"));
}

TEST_CASE("a lost connection abandons what runs") {
  Script seen;
  {
    Rig rig;
    rig.welcome_and_open();
    CHECK(rig.script.abandoned == 0);
    // The rig's script goes with it, so what the connection does last is watched by a second life.
    rig.script.stream->finish({});
    rig.frames();
    seen = rig.script;
  }
  CHECK(seen.abandoned == 0);  // finished streams are not abandoned
}

TEST_CASE("what nobody waits for leaves with the next frame, or after a moment") {
  Rig rig;
  rig.welcome_and_open();
  rig.frames();
  agent::Stream& stream = *rig.script.stream;
  stream.meta("m");
  stream.end(wire::kStdout);
  CHECK(rig.frames().empty());
  SUBCASE("with the result") {
    stream.finish({});
    const auto frames = rig.frames();
    REQUIRE(frames.size() == 3);
    CHECK(frames[0].first == FrameType::Meta);
    CHECK(frames[2].first == FrameType::Result);
  }
  SUBCASE("by itself") {
    std::vector<std::pair<FrameType, std::string>> frames;
    while (frames.empty()) {
      ::usleep(1000);
      frames = rig.frames();
    }
    REQUIRE(frames.size() == 2);
    CHECK(frames[1].first == FrameType::End);
  }
}

namespace {
struct Heard final : agent::ChannelEvents {
  std::string bytes;
  int ups = 0, downs = 0;
  void connected() override { ++ups; }
  void received(std::string_view more) override { bytes += more; }
  void drained() override {}
  void disconnected() override { ++downs; }
};
}  // namespace

TEST_CASE("a channel that spares the last byte hears every byte once, and the end") {
  agent::Loop loop;
  REQUIRE(loop.open());
  base::UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;  // an abstract address that the kernel chooses
  auto* name = reinterpret_cast<sockaddr*>(&address);
  REQUIRE(::bind(listener.get(), name, sizeof(sa_family_t)) == 0);
  socklen_t size = sizeof(address);
  REQUIRE(::getsockname(listener.get(), name, &size) == 0);
  REQUIRE(::listen(listener.get(), 2) == 0);
  Heard heard;
  agent::Channel channel(loop, heard);
  REQUIRE(channel.start(agent::Channel::Kind::Listener, std::move(listener)));
  const auto round = [&] {
    loop.post([&] { loop.stop(); });
    loop.run();
  };
  std::string said;
  for (int connection = 1; connection <= 2; ++connection) {
    base::UniqueFd host(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::connect(host.get(), name, size) == 0);
    for (const std::size_t length : {1u, 1u, 2u, 100u, 65535u, 65536u, 70000u, 1u}) {
      const std::string part(length, static_cast<char>('a' + said.size() % 26));
      REQUIRE(::send(host.get(), part.data(), length, 0) == static_cast<ssize_t>(length));
      said += part;
      round();
      CHECK(heard.bytes == said);
    }
    REQUIRE(::send(host.get(), "last", 4, 0) == 4);
    said += "last";
    host.reset();
    round();
    CHECK(heard.bytes == said);
    CHECK(heard.ups == connection);
    CHECK(heard.downs == connection);
  }
}

TEST_CASE("a pump stops at the window and goes on with credit, and finish takes what is left") {
  Rig rig;
  rig.welcome_and_open();
  rig.frames();
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
  const base::UniqueFd writer(ends[1]);  // stays open, like the pipe of a survivor
  agent::Source source(rig.loop_, *rig.script.stream, wire::kStdout);
  bool ended = false;
  source.hold(base::UniqueFd(ends[0]));
  const std::string piece(32768, 'x');
  for (int i = 0; i < 10; ++i) {  // 320 KiB, more than the window
    CHECK(::write(writer.get(), piece.data(), piece.size()) == static_cast<ssize_t>(piece.size()));
    if (i == 0) source.run([&] { ended = true; });
    rig.frames();
    if (i >= 8) break;  // the window is full and the pipe fills up
  }
  CHECK(source.total() == limits::kStreamWindow);
  source.finish();
  rig.frames();
  CHECK_FALSE(ended);  // no window, so what the pipe holds waits
  source.credit(65536);
  const auto frames = rig.frames();
  REQUIRE_FALSE(frames.empty());
  CHECK(frames.back().first == FrameType::End);
  CHECK(ended);
  CHECK(source.total() == 9 * piece.size());
}
