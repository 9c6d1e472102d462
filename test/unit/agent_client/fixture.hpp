// SPDX-License-Identifier: Apache-2.0
// What the session's tests share: a loop that runs until something is true, and events that are written down.
#pragma once

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent_client/session.hpp"
#include "base/event_loop.hpp"

namespace sandforge::test {

// Runs `loop` on this thread until `condition` holds; false after `limit`. The logs below stop the loop at each event,
// so that it is looked at again at once; for what makes no event it is looked at every 5 ms.
inline bool run_until(base::EventLoop& loop, std::function<bool()> condition,
                      std::chrono::milliseconds limit = std::chrono::seconds(20)) {
  const auto give_up = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= give_up) return false;
    const base::Subscription timer = loop.after(std::chrono::milliseconds(5), [&] { loop.stop(); });
    loop.run();
  }
  return true;
}

struct SessionLog final : agent_client::SessionEvents {
  void on_ready(const wire::Hello& message) override {
    hello = message;
    if (when_ready) when_ready();
    if (loop) loop->stop();
  }
  void on_lost(base::Error error) override {
    CHECK_FALSE(lost);
    lost = std::move(error);
    if (when_lost) when_lost();
    if (loop) loop->stop();
  }
  base::EventLoop* loop = nullptr;
  std::optional<wire::Hello> hello;
  std::optional<base::Error> lost;
  std::function<void()> when_ready, when_lost;
};

struct StreamLog : agent_client::StreamEvents {
  void on_meta(std::string_view payload) override {
    meta = std::string(payload);
    if (loop) loop->stop();
  }
  void on_data(std::uint8_t channel, std::string_view bytes) override {
    data[channel].append(bytes);
    if (consume && stream) stream->consumed(channel, bytes.size());
    if (loop) loop->stop();
    if (when_data) when_data();  // last: it may destroy this
  }
  void on_end(std::uint8_t channel) override { ended[channel] = true; }
  void on_sendable(std::uint8_t) override {
    ++sendable;
    if (loop) loop->stop();
    if (when_sendable) when_sendable();
  }
  void on_result(base::Result<wire::ResultHeader> end) override {
    CHECK_FALSE(result);
    result.emplace(std::move(end));
    if (loop) loop->stop();
    if (when_result) when_result();
  }

  bool ok() const { return result && *result && result->value().code == base::Code::Ok; }
  wire::ExecResult exec() const {
    REQUIRE(ok());
    auto decoded = wire::decode<wire::ExecResult>(result->value().body);
    REQUIRE(decoded);
    return decoded.value();
  }

  base::EventLoop* loop = nullptr;
  std::unique_ptr<agent_client::Stream> stream;
  bool consume = true;
  std::optional<std::string> meta;
  std::array<std::string, 3> data;
  std::array<bool, 3> ended{};
  int sendable = 0;
  std::optional<base::Result<wire::ResultHeader>> result;
  std::function<void()> when_data, when_sendable, when_result;
};

// Opens a stream whose events the answer records.
inline std::unique_ptr<StreamLog> open_stream(base::EventLoop& loop, agent_client::Session& session,
                                              std::string request) {
  auto events = std::make_unique<StreamLog>();
  events->loop = &loop;
  auto stream = session.open(std::move(request), *events);
  REQUIRE(stream);
  events->stream = std::move(stream).value();
  return events;
}

inline wire::ExecRequest exec_of(std::vector<std::string> argv) {
  wire::ExecRequest request;
  request.argv = std::move(argv);
  return request;
}

}  // namespace sandforge::test
