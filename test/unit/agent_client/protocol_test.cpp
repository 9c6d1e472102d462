// SPDX-License-Identifier: Apache-2.0
// A hostile agent: each way to break the protocol ends the session with a text that names it, and nothing else.
#include "agent_client/raw_peer.hpp"

using namespace sandforge;
using namespace sandforge::test;
using wire::FrameType;
using wire::Operation;

namespace {

// Streams that every case finds open.
constexpr std::uint32_t kExec = 1, kRead = 2, kWrite = 3, kStat = 4, kList = 5, kRemove = 6;

struct Violation {
  const char* what;
  std::string bytes;  // said after Hello
  const char* text;   // in the error's message
};

std::string meta(std::uint32_t stream) {
  return frame_of(FrameType::Meta, 0, stream,
                  stream == kExec ? wire::encode(wire::Started{7}) : wire::encode(wire::FileInfo{}));
}
std::string data(std::uint32_t stream, std::uint8_t channel, std::size_t size) {
  std::string out;
  for (std::size_t at = 0; at < size; at += limits::kFramePayloadMax) {
    out += frame_of(FrameType::Data, channel, stream, std::string(std::min(size - at, limits::kFramePayloadMax), 'x'));
  }
  return out;
}
std::string end(std::uint32_t stream, std::uint8_t channel) { return frame_of(FrameType::End, channel, stream); }
std::string credit(std::uint32_t stream, std::uint8_t channel, std::uint32_t amount) {
  return frame_of(FrameType::Credit, channel, stream, u32(amount));
}
std::string result(std::uint32_t stream, std::string payload) {
  return frame_of(FrameType::Result, 0, stream, payload);
}
std::string raw(std::initializer_list<unsigned> bytes) {
  std::string out;
  for (const unsigned byte : bytes) out += static_cast<char>(byte);
  return out;
}
std::string pings(int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += frame_of(FrameType::Ping, 0, 0, "x");
  return out;
}
std::string exec_body() { return wire::encode(wire::ExecResult{}); }

const std::vector<Violation>& violations() {
  static const std::vector<Violation> all = {
      {"a second Hello", hello_of(), "unexpected frame Hello"},
      {"Welcome from the agent", frame_of(FrameType::Welcome, 0, 0), "unexpected frame Welcome"},
      {"Open from the agent", frame_of(FrameType::Open, 0, 9), "unexpected frame Open"},
      {"Open with the agent's own numbers", frame_of(FrameType::Open, 0, 0x80000001), "unexpected frame Open"},
      {"Signal from the agent", frame_of(FrameType::Signal, 0, kExec, u32(9)), "unexpected frame Signal"},
      {"Cancel from the agent", frame_of(FrameType::Cancel, 0, kExec), "unexpected frame Cancel"},
      {"Pong that nobody asked for", frame_of(FrameType::Pong, 0, 0), "unexpected frame Pong"},
      {"Ping on a stream", frame_of(FrameType::Ping, 0, kExec), "Ping on a stream"},
      {"a flood of Pings", pings(65), "more Pings"},
      {"Data on stream 0", data(0, 1, 1), "Data for the connection itself"},
      {"Data for a stream never opened", data(77, 1, 1), "never opened"},
      {"Data for a stream of the agent's own", data(0x80000001, 1, 1), "never opened"},
      {"Meta for a stream never opened", frame_of(FrameType::Meta, 0, 77), "never opened"},
      {"End for a stream never opened", end(77, 1), "never opened"},
      {"Credit for a stream never opened", credit(77, 0, 1), "never opened"},
      {"Result for a stream never opened", result(77, result_of()), "never opened"},
      {"Result on stream 0", result(0, result_of()), "Result for the connection itself"},
      {"Result twice", result(kRemove, result_of()) + result(kRemove, result_of()), "stream that has ended"},
      {"Data after Result", result(kExec, result_of(exec_body())) + data(kExec, 1, 1), "stream that has ended"},
      {"Meta after Result", result(kRead, result_of()) + meta(kRead), "stream that has ended"},
      {"End after Result", result(kExec, result_of(exec_body())) + end(kExec, 1), "stream that has ended"},
      {"Credit after Result", result(kRemove, result_of()) + credit(kRemove, 0, 1), "stream that has ended"},
      {"Meta twice", meta(kExec) + meta(kExec), "Meta twice"},
      {"Meta after data", data(kExec, 2, 1) + meta(kExec), "Meta after data"},
      {"Meta after an end", end(kRead, 0) + meta(kRead), "Meta after data"},
      {"Meta where there is none", meta(kWrite), "Meta for an operation that has none"},
      {"empty Meta", frame_of(FrameType::Meta, 0, kExec), "malformed Meta"},
      {"Meta with a tail", frame_of(FrameType::Meta, 0, kExec, wire::encode(wire::Started{7}) + "x"), "malformed Meta"},
      {"Started as Meta of a file", frame_of(FrameType::Meta, 0, kRead, wire::encode(wire::Started{7})),
       "malformed Meta"},
      {"End twice", end(kExec, 1) + end(kExec, 1), "End twice on channel 1"},
      {"Data after End", end(kExec, 2) + data(kExec, 2, 1), "Data after End on channel 2"},
      {"empty Data after End", end(kExec, 2) + frame_of(FrameType::Data, 2, kExec), "Data after End on channel 2"},
      {"Data on a command's stdin", data(kExec, 0, 1), "may not use"},
      {"End of a command's stdin", end(kExec, 0), "may not use"},
      {"Data on stdout of a file", data(kRead, 1, 1), "may not use"},
      {"Data of a write", data(kWrite, 0, 1), "may not use"},
      {"Data of a stat", data(kStat, 0, 1), "may not use"},
      {"Data beyond the window", data(kExec, 1, limits::kStreamWindow) + data(kExec, 1, 1), "more Data than"},
      {"Data beyond the window at once", data(kList, 0, limits::kStreamWindow + limits::kFramePayloadMax),
       "more Data than"},
      {"Credit for what the host never sends", credit(kRead, 0, 1), "which has no data"},
      {"Credit on stdout", credit(kExec, 1, 1), "which has no data"},
      {"Credit over 2^31 at once", credit(kWrite, 0, 0x80000000), "Credit overflow"},
      {"Credit over 2^31 in the sum", credit(kExec, 0, 0x7f000000) + credit(kExec, 0, 0x01000000), "Credit overflow"},
      {"Credit of the largest number", credit(kExec, 0, 0xffffffff), "Credit overflow"},
      {"Credit of two bytes", frame_of(FrameType::Credit, 0, kExec, "xx"), "malformed Credit"},
      {"empty Credit", frame_of(FrameType::Credit, 0, kExec), "malformed Credit"},
      {"empty Result", result(kExec, ""), "malformed ResultHeader"},
      {"Result with a tail", result(kExec, result_of(exec_body()) + "x"), "malformed ResultHeader"},
      {"Result with an unknown code", result(kStat, u32(99) + std::string(12, '\0')), "malformed ResultHeader"},
      {"Result of a command without its body", result(kExec, result_of()), "malformed Result body"},
      {"Result of a command with another's body", result(kExec, result_of(wire::encode(wire::Started{}))),
       "malformed Result body"},
      {"Result with an unknown verdict", result(kExec, result_of("\x09" + exec_body().substr(1))),
       "malformed Result body"},
      {"Result of a stat without its body", result(kStat, result_of()), "malformed Result body"},
      {"Result with a body that is not its own", result(kRemove, result_of("x")), "malformed Result body"},
      {"failed Result with a broken body", result(kStat, result_of("x", base::Code::NotFound)),
       "malformed Result body"},
      {"a frame type of 0", raw({0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}), "unknown frame type"},
      {"a frame type of 13", raw({0, 0, 0, 0, 13, 0, 0, 0, 1, 0, 0, 0}), "unknown frame type"},
      {"a channel of 3", raw({0, 0, 0, 0, 5, 3, 0, 0, 1, 0, 0, 0}), "unknown channel or flag"},
      {"a flag where there is none", raw({0, 0, 0, 0, 8, 1, 0, 0, 1, 0, 0, 0}), "unknown channel or flag"},
      {"reserved bytes set", raw({0, 0, 0, 0, 5, 1, 1, 0, 1, 0, 0, 0}), "reserved"},
      {"Data over its cap", raw({1, 0, 1, 0, 5, 1, 0, 0, 1, 0, 0, 0}), "over its length cap"},
      {"a length of 2^32-1", raw({255, 255, 255, 255, 5, 1, 0, 0, 1, 0, 0, 0}), "over its length cap"},
      {"End with a payload", raw({1, 0, 0, 0, 6, 1, 0, 0, 1, 0, 0, 0, 0}), "over its length cap"},
      {"text", "HTTP/1.1 400 Bad Request\r\n\r\n", "wire protocol"},
  };
  return all;
}

struct Opened {
  explicit Opened(RawPeer& peer) {
    streams.push_back(peer.open(Operation::Exec, exec_of({"x"})));
    streams.push_back(peer.open(Operation::FileRead, wire::FileReadRequest{"/x", 0, 1}));
    streams.push_back(peer.open(Operation::FileWrite, wire::FileWriteRequest{"/x", 0}));
    streams.push_back(peer.open(Operation::FileStat, wire::PathRequest{"/x", 0, 0}));
    streams.push_back(peer.open(Operation::FileList, wire::PathRequest{"/x", 0, 0}));
    streams.push_back(peer.open(Operation::FileRemove, wire::PathRequest{"/x", 0, 0}));
    for (auto& stream : streams) stream->consume = false;
  }
  std::vector<std::unique_ptr<StreamLog>> streams;
};

void check_broken(RawPeer& peer, Opened& opened, const Violation& violation) {
  REQUIRE(peer.lost());
  CHECK(peer.log.lost->code == base::Code::Corrupt);
  CHECK(peer.log.lost->message.find("agent broke the protocol: ") == 0);
  CHECK_MESSAGE(peer.log.lost->message.find(violation.text) != std::string::npos, peer.log.lost->message);
  // Every stream that had no result before has the error now.
  for (const auto& stream : opened.streams) {
    REQUIRE(stream->result);
    if (!*stream->result) CHECK(stream->result->error().message == peer.log.lost->message);
  }
  StreamLog none;
  CHECK(peer.session->open(wire::encode_open(Operation::Exec, exec_of({"x"})), none).error().code ==
        base::Code::Disconnected);
}

}  // namespace

TEST_CASE("an agent that breaks the protocol loses the session, and the error says how") {
  CHECK(violations().size() >= 60);
  for (const Violation& violation : violations()) {
    CAPTURE(std::string(violation.what));
    RawPeer peer;
    peer.ready();
    Opened opened(peer);
    peer.say(violation.bytes);
    check_broken(peer, opened, violation);
  }
}

TEST_CASE("a violation is found however the bytes are cut") {
  for (const Violation& violation : violations()) {
    if (violation.bytes.size() > 4096) continue;
    if (std::string_view(violation.text) == "more Pings") continue;  // answered as they come, so it is none
    CAPTURE(std::string(violation.what));
    RawPeer peer;
    peer.ready();
    Opened opened(peer);
    for (const char byte : violation.bytes) {
      peer.say({&byte, 1});
      if (violation.bytes.size() < 64) peer.turn();
    }
    check_broken(peer, opened, violation);
  }
}

TEST_CASE("a violation on a stream that its owner let go of counts all the same") {
  for (const Violation& violation : violations()) {
    CAPTURE(std::string(violation.what));
    RawPeer peer;
    peer.ready();
    { Opened gone(peer); }
    Opened opened(peer);  // others, numbered on from there
    opened.streams.clear();
    peer.say(violation.bytes);
    if (std::string_view(violation.text) == "more Data than") continue;  // drained, so the window comes back
    check_broken(peer, opened, violation);
  }
}

TEST_CASE("a first frame that is not a proper Hello is refused") {
  wire::Hello other_magic;
  other_magic.magic = 1;
  const std::pair<std::string, const char*> cases[] = {
      {frame_of(FrameType::Ping, 0, 0), "its first frame is Ping"},
      {frame_of(FrameType::Data, 1, 1, "x"), "its first frame is Data"},
      {frame_of(FrameType::Result, 0, 1), "its first frame is Result"},
      {frame_of(FrameType::Hello, 0, 5, wire::encode(wire::Hello{})), "not Hello"},
      {frame_of(FrameType::Hello, 0, 0), "no magic number"},
      {frame_of(FrameType::Hello, 0, 0, u32(wire::kMagic)), "no magic number"},
      {hello_of(other_magic), "no magic number"},
      {frame_of(FrameType::Hello, 0, 0, wire::encode(wire::Hello{}) + "x"), "malformed Hello"},
      {frame_of(FrameType::Hello, 0, 0, wire::encode(wire::Hello{}).substr(0, 20)), "malformed Hello"},
      {"login: \r\nPassword: \r\n", "wire protocol"},
  };
  for (const auto& one : cases) {
    const std::string& bytes = one.first;
    const char* text = one.second;
    CAPTURE(std::string(text));
    RawPeer peer;
    peer.say(bytes);
    REQUIRE(peer.lost());
    CHECK(peer.log.lost->code == base::Code::Corrupt);
    CHECK_MESSAGE(peer.log.lost->message.find(text) != std::string::npos, peer.log.lost->message);
    CHECK_FALSE(peer.log.hello);
  }
}

TEST_CASE("an agent of another protocol version is told apart, whatever the rest of its hello is") {
  wire::Hello other;
  other.version = 2;
  for (const std::string& tail : {std::string(), std::string("fields of a later version")}) {
    RawPeer peer;
    peer.say(frame_of(FrameType::Hello, 0, 0, wire::encode(other) + tail));
    REQUIRE(peer.lost());
    CHECK(peer.log.lost->code == base::Code::Unsupported);
    CHECK(peer.log.lost->message ==
          "the guest's agent speaks protocol version 2, this library 1: rebuild the image/initrd");
    CHECK_FALSE(peer.log.lost->remedy.empty());
  }
}
