// SPDX-License-Identifier: Apache-2.0
// The session against a scripted agent: what it writes, credit, bounds, endings, callbacks that destroy things.
#include <map>
#include <random>

#include "agent_client/raw_peer.hpp"

using namespace sandforge;
using namespace sandforge::test;
using wire::FrameType;
using wire::Operation;

namespace {
std::unique_ptr<StreamLog> open_exec(RawPeer& peer) { return peer.open(Operation::Exec, exec_of({"x"})); }
std::unique_ptr<StreamLog> open_write(RawPeer& peer) {
  return peer.open(Operation::FileWrite, wire::FileWriteRequest{"/x", 0});
}
std::string exec_result(std::uint32_t stream) {
  return frame_of(FrameType::Result, 0, stream, result_of(wire::encode(wire::ExecResult{})));
}
}  // namespace

TEST_CASE("hello is answered by a welcome with the nonce, the clock and the given fields") {
  RawPeer peer;
  wire::Hello hello;
  hello.nonce = 0x1234567890abcdef;
  peer.say(hello_of(hello));
  const auto heard = peer.hear();
  REQUIRE(heard.size() == 1);
  CHECK(heard[0].header.type == FrameType::Welcome);
  const auto welcome = wire::decode<wire::Welcome>(heard[0].payload);
  REQUIRE(welcome);
  CHECK(welcome.value().nonce == hello.nonce);
  CHECK(welcome.value().entropy == "entropy");
  CHECK(welcome.value().hostname == "name");
  CHECK(welcome.value().realtime_ns > 1'600'000'000'000'000'000);
}

TEST_CASE("no stream can be opened before hello") {
  RawPeer peer;
  StreamLog events;
  CHECK(peer.session->open(wire::encode_open(Operation::Exec, exec_of({"x"})), events).error().reason ==
        "agent_not_ready");
}

TEST_CASE("requests that are too large or none at all are the caller's mistake") {
  RawPeer peer;
  peer.ready();
  StreamLog events;
  CHECK(peer.session->open(std::string(limits::kRequestMax + 1, '\1'), events).error().code ==
        base::Code::InvalidArgument);
  CHECK(peer.session->open("", events).error().code == base::Code::InvalidArgument);
}

TEST_CASE("streams are limited in number, and one that ended makes room") {
  RawPeer peer;
  peer.ready();
  std::vector<std::unique_ptr<StreamLog>> streams;
  for (std::size_t i = 0; i < limits::kStreamsMax; ++i) streams.push_back(open_exec(peer));
  StreamLog more;
  CHECK(peer.session->open(wire::encode_open(Operation::Exec, exec_of({"x"})), more).error().code ==
        base::Code::Exhausted);
  // Letting go does not make room: the agent still works on it.
  streams[0].reset();
  CHECK_FALSE(peer.session->open(wire::encode_open(Operation::Exec, exec_of({"x"})), more));
  (void)peer.hear();
  peer.say(exec_result(1));
  peer.turn();
  CHECK(peer.session->open(wire::encode_open(Operation::Exec, exec_of({"x"})), more));
}

TEST_CASE("frames of one turn go out together and in the order of the calls") {
  RawPeer peer;
  peer.ready();
  (void)peer.hear();
  const auto stream = open_exec(peer);
  CHECK(stream->stream->send(0, "input") == 5);
  stream->stream->end(0);
  stream->stream->signal(15);
  stream->stream->signal(15);  // coalesces with the first, like a pending signal
  stream->stream->signal(0);
  stream->stream->signal(65);
  const auto heard = peer.hear();
  std::vector<FrameType> types;
  for (const auto& frame : heard) types.push_back(frame.header.type);
  CHECK(types == std::vector<FrameType>{FrameType::Open, FrameType::Data, FrameType::End, FrameType::Signal});
  CHECK(heard.back().payload == u32(15));
  CHECK(stream->stream->send(0, "more") == 0);
}

TEST_CASE("letting go of a stream cancels it, and what still comes is drained until the result") {
  RawPeer peer;
  peer.ready();
  auto stream = open_exec(peer);
  (void)peer.hear();
  stream.reset();
  auto heard = peer.hear();
  REQUIRE(heard.size() == 1);
  CHECK(heard[0].header.type == FrameType::Cancel);
  // Four windows of output: credit must come back by itself.
  std::uint64_t window = limits::kStreamWindow;
  std::uint64_t said = 0;
  while (said < 4 * limits::kStreamWindow) {
    REQUIRE(window >= 32768);
    peer.say(frame_of(FrameType::Data, 1, 1, std::string(32768, 'x')));
    window -= 32768, said += 32768;
    for (const auto& frame : peer.hear()) {
      REQUIRE(frame.header.type == FrameType::Credit);
      std::uint32_t amount = 0;
      std::memcpy(&amount, frame.payload.data(), 4);
      window += amount;
    }
  }
  peer.say(exec_result(1));
  peer.turn();
  CHECK_FALSE(peer.log.lost);
}

TEST_CASE("credit that a reader never gave back is never told to the agent") {
  RawPeer peer;
  peer.ready();
  auto stream = open_exec(peer);
  stream->consume = false;
  (void)peer.hear();
  for (int i = 0; i < 4; ++i) peer.say(frame_of(FrameType::Data, 1, 1, std::string(65536, 'x')));
  CHECK(peer.hear().empty());
  CHECK(stream->data[1].size() == limits::kStreamWindow);
  stream->stream->consumed(1, 1'000'000'000);  // more than there is: clamped
  stream->stream->consumed(1, 65536);
  const auto heard = peer.hear();
  REQUIRE(heard.size() == 1);
  CHECK(heard[0].payload == u32(limits::kStreamWindowWide));  // what was taken, and the room of a wide window
}

TEST_CASE("a sender stops at its credit and is told when there is more") {
  RawPeer peer;
  peer.ready();
  auto stream = open_write(peer);
  const std::string piece(limits::kStreamWindow + 1000, 'x');
  std::size_t sent = stream->stream->send(0, piece);
  stream->when_sendable = [&] { sent += stream->stream->send(0, std::string_view(piece).substr(sent)); };
  std::size_t arrived = 0;
  for (int i = 0; i < 5; ++i) {
    for (const auto& frame : peer.hear()) arrived += frame.header.type == FrameType::Data ? frame.payload.size() : 0;
  }
  CHECK(arrived == limits::kStreamWindow);
  CHECK(sent == limits::kStreamWindow);
  peer.say(frame_of(FrameType::Credit, 0, 1, u32(999)));
  for (const auto& frame : peer.hear()) arrived += frame.payload.size();
  CHECK(arrived == limits::kStreamWindow + 999);
  peer.say(frame_of(FrameType::Credit, 0, 1, u32(999)));
  for (const auto& frame : peer.hear()) arrived += frame.payload.size();
  CHECK(arrived == piece.size());
}

TEST_CASE("an agent that does not read makes the host hold no more than its cap, and all streams wait their turn") {
  RawPeer peer;
  peer.ready();
  std::vector<std::unique_ptr<StreamLog>> streams;
  std::vector<std::size_t> sent(8);
  const std::string piece(limits::kStreamWindow, 'x');
  for (std::size_t i = 0; i < sent.size(); ++i) {
    streams.push_back(open_write(peer));
    StreamLog& stream = *streams.back();
    const auto push = [&stream, &sent, &piece, i] {
      sent[i] += stream.stream->send(0, std::string_view(piece).substr(sent[i]));
    };
    stream.when_sendable = push;
    push();
  }
  peer.turn();
  std::size_t total = 0;
  for (const std::size_t count : sent) total += count;
  int socket_buffer = 0;
  socklen_t size = sizeof socket_buffer;
  ::getsockopt(peer.socket.get(), SOL_SOCKET, SO_SNDBUF, &socket_buffer, &size);
  CHECK(total <= limits::kSessionSendMax + limits::kSessionSendTurn + 2 * static_cast<std::size_t>(socket_buffer));
  CHECK(total < sent.size() * piece.size());

  // Once it reads, everything arrives, and no stream is starved: when the first is done all others have begun.
  std::map<std::uint32_t, std::size_t> arrived;
  bool first_done = false;
  for (int rounds = 0; rounds < 200 && arrived.size() < 100; ++rounds) {
    for (const auto& frame : peer.hear()) {
      if (frame.header.type == FrameType::Data) arrived[frame.header.stream] += frame.payload.size();
    }
    if (std::all_of(sent.begin(), sent.end(), [&](std::size_t count) { return count == piece.size(); })) break;
    if (!first_done && arrived[2] == piece.size()) {
      first_done = true;
      for (std::uint32_t id = 3; id <= 8; ++id) CHECK(arrived[id] > 0);
    }
  }
  for (const auto& frame : peer.hear()) arrived[frame.header.stream] += frame.payload.size();
  for (std::uint32_t id = 1; id <= 8; ++id) CHECK(arrived[id] == piece.size());
}

TEST_CASE("control frames go out although stream data waits") {
  RawPeer peer;
  peer.ready();
  auto writer = open_write(peer);
  auto other = open_exec(peer);
  writer->stream->send(0, std::string(limits::kStreamWindow, 'x'));
  writer->stream->cancel();
  other->stream->signal(9);
  other->stream->cancel();
  int cancels = 0;
  for (int i = 0; i < 5; ++i) {
    for (const auto& frame : peer.hear()) cancels += frame.header.type == FrameType::Cancel;
  }
  CHECK(cancels == 2);
}

TEST_CASE("ping is answered by pong with the same payload") {
  RawPeer peer;
  peer.ready();
  (void)peer.hear();
  for (int i = 0; i < 200; ++i) {
    peer.say(frame_of(FrameType::Ping, 0, 0, "are you there"));
    const auto heard = peer.hear();
    REQUIRE(heard.size() == 1);
    CHECK(heard[0].header.type == FrameType::Pong);
    CHECK(heard[0].payload == "are you there");
  }
}

TEST_CASE("when the agent closes, what it said before is delivered, then every stream ends, then the session") {
  RawPeer peer;
  peer.ready();
  auto first = open_exec(peer), second = open_exec(peer);
  peer.turn();
  std::vector<int> order;
  first->when_result = [&] { order.push_back(1); };
  second->when_result = [&] { order.push_back(2); };
  peer.log.when_lost = [&] { order.push_back(3); };
  peer.say(frame_of(FrameType::Data, 1, 2, "last words") + exec_result(2));
  peer.socket.reset();
  REQUIRE(peer.lost());
  CHECK(order == std::vector<int>{2, 1, 3});
  CHECK(second->data[1] == "last words");
  CHECK(second->ok());
  CHECK(first->result->error().code == base::Code::Disconnected);
  CHECK(peer.log.lost->code == base::Code::Disconnected);
}

TEST_CASE("last words are read even when writing to the agent failed first") {
  RawPeer peer;
  peer.ready();
  auto stream = open_exec(peer);
  peer.turn();
  peer.say(frame_of(FrameType::Data, 1, 1, std::string(60000, 'x')) + exec_result(1));
  peer.socket.reset();
  auto late = open_exec(peer);  // fails to be written
  REQUIRE(peer.lost());
  CHECK(stream->data[1].size() == 60000);
  CHECK(stream->ok());
  CHECK(late->result->error().code == base::Code::Disconnected);
}

TEST_CASE("an agent that closes before hello is reported as such") {
  RawPeer peer;
  peer.socket.reset();
  REQUIRE(peer.lost());
  CHECK(peer.log.lost->message.find("before it said hello") != std::string::npos);
}

TEST_CASE("callbacks may destroy their stream, other streams or the session") {
  const std::string script = frame_of(FrameType::Meta, 0, 1, wire::encode(wire::Started{1})) +
                             frame_of(FrameType::Data, 1, 1, "a") + frame_of(FrameType::Data, 1, 2, "b") +
                             exec_result(1) + frame_of(FrameType::Data, 1, 2, "c") + exec_result(2);
  SUBCASE("its own stream, in on_data") {
    RawPeer peer;
    peer.ready();
    auto one = open_exec(peer), two = open_exec(peer);
    one->consume = false;
    one->when_data = [&] { one.reset(); };
    peer.say(script);
    REQUIRE(run_until(peer.loop, [&] { return two->result.has_value(); }));
    CHECK_FALSE(one);
    CHECK(two->data[1] == "bc");
  }
  SUBCASE("another stream, in on_data") {
    RawPeer peer;
    peer.ready();
    auto one = open_exec(peer), two = open_exec(peer);
    one->when_data = [&] { two.reset(); };
    peer.say(script);
    REQUIRE(run_until(peer.loop, [&] { return one->result.has_value(); }));
    peer.turn();
    CHECK_FALSE(peer.log.lost);
  }
  SUBCASE("its own stream, in on_result") {
    RawPeer peer;
    peer.ready();
    auto one = open_exec(peer), two = open_exec(peer);
    one->when_result = [&] { one.reset(); };
    peer.say(script);
    REQUIRE(run_until(peer.loop, [&] { return two->result.has_value(); }));
    CHECK_FALSE(one);
  }
  SUBCASE("the session, in on_data") {
    RawPeer peer;
    peer.ready();
    auto one = open_exec(peer), two = open_exec(peer);
    one->when_data = [&] { peer.session.reset(); };
    peer.say(script);
    REQUIRE(run_until(peer.loop, [&] { return !peer.session; }));
    peer.turn();
    CHECK_FALSE(one->result);
    CHECK(two->data[1].empty());
    CHECK(one->stream->send(0, "x") == 0);  // handles outlive it harmlessly
    one->stream->cancel();
  }
  SUBCASE("the session, in on_ready") {
    RawPeer peer;
    peer.log.when_ready = [&] { peer.session.reset(); };
    peer.say(hello_of() + frame_of(FrameType::Ping, 0, 0));
    REQUIRE(run_until(peer.loop, [&] { return peer.log.hello.has_value(); }));
    peer.turn();
    CHECK_FALSE(peer.log.lost);
  }
  SUBCASE("the session, in the on_result of its end") {
    RawPeer peer;
    peer.ready();
    auto one = open_exec(peer), two = open_exec(peer);
    one->when_result = [&] { peer.session.reset(); };
    peer.socket.reset();
    REQUIRE(run_until(peer.loop, [&] { return !peer.session; }));
    peer.turn();
    CHECK_FALSE(two->result);
    CHECK_FALSE(peer.log.lost);
  }
  SUBCASE("the session, in on_lost") {
    RawPeer peer;
    peer.ready();
    peer.log.when_lost = [&] { peer.session.reset(); };
    peer.say("garbage, surely no frame");
    REQUIRE(run_until(peer.loop, [&] { return !peer.session; }));
  }
  SUBCASE("other streams, in the on_result of the session's end") {
    RawPeer peer;
    peer.ready();
    auto one = open_exec(peer), two = open_exec(peer), three = open_exec(peer);
    one->when_result = [&] { two.reset(); };
    peer.socket.reset();
    REQUIRE(peer.lost());
    CHECK(three->result);
  }
  SUBCASE("its own stream, in on_sendable") {
    RawPeer peer;
    peer.ready();
    auto one = open_write(peer);
    one->stream->send(0, std::string(limits::kStreamWindow + 1, 'x'));
    one->when_sendable = [&] { one.reset(); };
    (void)peer.hear();
    peer.say(frame_of(FrameType::Credit, 0, 1, u32(100)));
    REQUIRE(run_until(peer.loop, [&] { return !one; }));
  }
}

TEST_CASE("any split and interleaving of the agent's frames gives each stream the same bytes") {
  std::mt19937 random(7);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  for (int round = 0; round < 40; ++round) {
    RawPeer peer;
    constexpr std::uint32_t kStreams = 5;
    std::array<std::array<std::string, 3>, kStreams + 1> expected;
    std::array<std::vector<std::string>, kStreams + 1> scripts;
    for (std::uint32_t id = 1; id <= kStreams; ++id) {
      auto& script = scripts[id];
      script.push_back(frame_of(FrameType::Meta, 0, id, wire::encode(wire::Started{id})));
      for (int i = 0; i < 12; ++i) {
        const auto channel = static_cast<std::uint8_t>(1 + below(2));
        std::string bytes(below(3) == 0 ? below(12000) : below(40), static_cast<char>('a' + below(26)));
        expected[id][channel] += bytes;
        script.push_back(frame_of(FrameType::Data, channel, id, bytes));
      }
      script.push_back(frame_of(FrameType::End, 1, id) + frame_of(FrameType::End, 2, id));
      script.push_back(exec_result(id));
    }
    std::string bytes = frame_of(FrameType::Ping, 0, 0, "p");
    std::array<std::size_t, kStreams + 1> at{};
    for (std::size_t left = kStreams * scripts[1].size(); left > 0;) {
      const std::size_t id = 1 + below(kStreams);
      if (at[id] == scripts[id].size()) continue;
      bytes += scripts[id][at[id]++];
      --left;
    }

    peer.ready();
    std::vector<std::unique_ptr<StreamLog>> streams;
    for (std::uint32_t id = 1; id <= kStreams; ++id) streams.push_back(open_exec(peer));
    for (std::size_t from = 0; from < bytes.size();) {
      const std::size_t piece = std::min(1 + below(round % 2 ? 20000 : 3000), bytes.size() - from);
      peer.say(std::string_view(bytes).substr(from, piece));
      peer.turn();
      from += piece;
    }
    REQUIRE(run_until(peer.loop, [&] {
      return std::all_of(streams.begin(), streams.end(), [](const auto& s) { return s->result.has_value(); });
    }));
    for (std::uint32_t id = 1; id <= kStreams; ++id) {
      CHECK(streams[id - 1]->ok());
      CHECK(streams[id - 1]->meta == wire::encode(wire::Started{id}));
      CHECK(streams[id - 1]->data == expected[id]);
      CHECK(streams[id - 1]->ended == std::array<bool, 3>{false, true, true});
    }
  }
}
