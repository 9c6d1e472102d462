// SPDX-License-Identifier: Apache-2.0
// Bytes as a hostile agent writes them, into a Session over a socketpair with a stream of each kind open. The first two
// bytes of the input choose how: whether a proper Hello comes first, where the bytes are cut, what the owners do.
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent_client/session.hpp"

namespace {

using namespace sandforge;

void check(bool condition) {
  if (!condition) std::abort();
}

struct Choices {
  bool hello_first, consume, let_go_at_data, close_at_data, send_much, cancel, reads;
  std::size_t piece;
};

class Owner;

class Events final : public agent_client::StreamEvents {
 public:
  Events(Owner& owner, const Choices& choices) : owner_(owner), choices_(choices) {}
  void on_meta(std::string_view) override { check(!done_); }
  void on_data(std::uint8_t channel, std::string_view bytes) override;
  void on_end(std::uint8_t channel) override {
    check(!done_ && !ended_[channel]);
    ended_[channel] = true;
  }
  void on_sendable(std::uint8_t channel) override {
    check(!done_);
    stream->send(channel, std::string(5000, 'y'));
  }
  void on_result(base::Result<wire::ResultHeader>) override {
    check(!done_);
    done_ = true;
  }
  std::unique_ptr<agent_client::Stream> stream;

 private:
  Owner& owner_;
  const Choices& choices_;
  bool done_ = false;
  std::array<bool, 3> ended_{};
  std::array<std::uint64_t, 3> unconsumed_{};
};

class Owner final : public agent_client::SessionEvents {
 public:
  Owner(base::EventLoop& loop, base::UniqueFd socket, const Choices& choices) : choices_(choices) {
    session = agent_client::start_session(loop, std::move(socket), {}, *this);
  }

  void on_ready(const wire::Hello&) override {
    wire::ExecRequest exec;
    exec.argv = {"x"};
    open(wire::encode_open(wire::Operation::Exec, exec));
    open(wire::encode_open(wire::Operation::FileRead, wire::FileReadRequest{"/x"}));
    open(wire::encode_open(wire::Operation::FileWrite, wire::FileWriteRequest{"/x", 0}));
    open(wire::encode_open(wire::Operation::FileList, wire::PathRequest{"/x", 0, 0}));
    open(wire::encode_open(wire::Operation::FileStat, wire::PathRequest{"/x", 0, 0}));
    open(wire::encode_open(wire::Operation::FileRemove, wire::PathRequest{"/x", 0, 0}));
    if (choices_.cancel) events[0]->stream->cancel();
    if (choices_.send_much) {
      for (auto& one : events) one->stream->send(0, std::string(300'000, 'x'));
    }
  }
  void on_lost(base::Error error) override {
    check(!lost && !error.message.empty());
    lost = true;
  }
  void open(std::string request) {
    events.push_back(std::make_unique<Events>(*this, choices_));
    auto stream = session->open(std::move(request), *events.back());
    check(static_cast<bool>(stream));
    events.back()->stream = std::move(stream).value();
  }

  const Choices& choices_;
  std::unique_ptr<agent_client::Session> session;
  std::vector<std::unique_ptr<Events>> events;
  bool lost = false;
};

void Events::on_data(std::uint8_t channel, std::string_view bytes) {
  check(!done_ && !ended_[channel] && !bytes.empty());
  unconsumed_[channel] += bytes.size();
  check(unconsumed_[channel] <= limits::kStreamWindowWide);  // the promise of the interface
  if (choices_.consume) {
    stream->consumed(channel, bytes.size());
    unconsumed_[channel] = 0;
  }
  if (choices_.close_at_data) owner_.session.reset();
  if (choices_.let_go_at_data) stream.reset();
}

void turn(base::EventLoop& loop) {
  int turns = 0;
  std::function<void()> next = [&] { ++turns > 2 ? loop.stop() : loop.post(next); };
  loop.post(next);
  loop.run();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const auto bit = [&](int n) { return (data[0] >> n & 1) != 0; };
  const Choices choices{bit(0), bit(1), bit(2), bit(3), bit(4), bit(5), bit(6), 7 + std::size_t{data[1]} * 64};
  int ends[2];
  check(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
  const base::UniqueFd peer(ends[1]);

  base::EventLoop loop;
  Owner owner(loop, base::UniqueFd(ends[0]), choices);
  std::string bytes;
  if (choices.hello_first) wire::append_frame(bytes, wire::FrameType::Hello, 0, 0, wire::encode(wire::Hello{}));
  const std::size_t head = bytes.size();
  bytes.append(reinterpret_cast<const char*>(data) + 2, size - 2);  // SAFETY: any bytes may be looked at as char

  for (std::size_t at = 0; at < bytes.size() && !owner.lost;) {
    // The Hello in one piece, so that a large step still finds the streams open.
    const std::size_t piece = std::min(at < head ? head - at : choices.piece, bytes.size() - at);
    const ssize_t count = ::send(peer.get(), bytes.data() + at, piece, MSG_NOSIGNAL);
    if (count > 0) at += static_cast<std::size_t>(count);
    turn(loop);
    if (count <= 0 && !owner.session) break;
    char sink[65536];
    while (choices.reads && ::recv(peer.get(), sink, sizeof sink, 0) > 0) turn(loop);
  }
  ::shutdown(peer.get(), SHUT_WR);
  turn(loop);
  return 0;
}
