// SPDX-License-Identifier: Apache-2.0
// The agent's input side: any bytes of a host, cut anywhere, after a valid Welcome or instead of it. Operations are
// fakes that take what the connection gives them; nothing is executed.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "agent/connection.hpp"
#include "agent/task_spec.hpp"

using namespace sandforge;

namespace {
class Sink final : public agent::Operation {
 public:
  explicit Sink(agent::Stream& stream) : stream_(stream) {}
  void start() override { stream_.meta("m"); }
  bool data(std::uint8_t channel, std::string_view bytes) override {
    // Half of it is given back, so that windows both run out and open again.
    stream_.give_credit(channel, static_cast<std::uint32_t>(bytes.size() / 2));
    return channel == wire::kStdin;
  }
  bool end(std::uint8_t) override { return true; }
  void signal(std::uint32_t number) override {
    if (number == 9) stream_.finish({});
  }
  void cancel() override { stream_.finish({}); }
  void abandon() override {}

 private:
  agent::Stream& stream_;
};

class Host final : public agent::Services, private agent::ChannelEvents {
 public:
  Host() : channel_(loop_, *this), connection_(loop_, channel_, *this) {}

  wire::Hello hello() override { return {}; }
  base::Status welcome(const wire::Welcome&) override { return {}; }
  base::Result<std::shared_ptr<agent::Operation>> make_operation(const wire::Open& open,
                                                                 agent::Stream& stream) override {
    if (open.operation == wire::Operation::Exec) {
      SANDFORGE_TRY(const auto request, wire::decode<wire::ExecRequest>(open.request));
      SANDFORGE_TRY_STATUS(agent::check_exec(request));
      agent::TaskSpec spec = agent::make_spec(request, {});
      if (spec.candidates.empty() || agent::pointers_of(spec.argv).size() != request.argv.size() + 1) __builtin_trap();
    } else {
      SANDFORGE_TRY(const auto request, wire::decode<wire::PathRequest>(open.request));
    }
    return std::shared_ptr<agent::Operation>(std::make_shared<Sink>(stream));
  }
  void log(std::string_view) override {}

  bool feed(std::string_view bytes) { return static_cast<bool>(connection_.received(bytes)); }
  void say_welcome() {
    connection_.start();
    std::string frame;
    wire::append_frame(frame, wire::FrameType::Welcome, 0, 0, wire::encode(wire::Welcome{}));
    if (!feed(frame)) __builtin_trap();
  }

 private:
  void connected() override {}
  void received(std::string_view) override {}
  void drained() override {}
  void disconnected() override {}

  agent::Loop loop_;
  agent::Channel channel_;
  agent::Connection connection_;
};
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  Host host;
  const bool welcomed = (data[0] & 1) != 0;
  const std::size_t step = 1U + data[1];
  if (welcomed) host.say_welcome();
  std::string_view rest(reinterpret_cast<const char*>(data) + 2, size - 2);
  while (!rest.empty() && host.feed(rest.substr(0, step))) rest.remove_prefix(std::min(step, rest.size()));
  return 0;
}
