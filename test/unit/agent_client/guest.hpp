// SPDX-License-Identifier: Apache-2.0
// A session with a fake guest, ready for use.
#pragma once

#include "agent_client/fixture.hpp"
#include "backend/fake/backend.hpp"

namespace sandforge::test {

struct Guest {
  explicit Guest(const std::string& id = "unit") {
    backend::LaunchPlan plan;
    plan.id = id;
    auto launched = backend::make_fake_backend()->launch(plan);
    REQUIRE(launched);
    worker = std::move(launched).value();
    connect();
  }
  void connect() {
    session.reset();
    log.hello.reset(), log.lost.reset();
    auto socket = worker->connect();
    REQUIRE(socket);
    log.loop = &loop;
    session = agent_client::start_session(loop, std::move(socket).value(), {"", "host-name", ""}, log);
  }
  Guest& ready() {
    REQUIRE(run_until(loop, [&] { return log.hello.has_value(); }));
    return *this;
  }

  std::unique_ptr<StreamLog> open(std::string request) { return open_stream(loop, *session, std::move(request)); }
  template <typename Request>
  std::unique_ptr<StreamLog> open(wire::Operation operation, const Request& request) {
    return open(wire::encode_open(operation, request));
  }
  std::unique_ptr<StreamLog> exec(std::vector<std::string> argv, bool with_stdin = false) {
    auto request = exec_of(std::move(argv));
    request.stream_stdin = with_stdin;
    return open(wire::Operation::Exec, request);
  }

  bool wait(StreamLog& events) {
    return run_until(loop, [&] { return events.result.has_value(); });
  }
  wire::ExecResult finish(StreamLog& events) {
    REQUIRE(wait(events));
    return events.exec();
  }
  // The Result of an operation without data.
  template <typename Request>
  wire::ResultHeader call(wire::Operation operation, const Request& request) {
    const auto events = open(operation, request);
    REQUIRE(wait(*events));
    REQUIRE(*events->result);
    return events->result->value();
  }
  wire::ResultHeader on_path(wire::Operation operation, std::string path, std::uint8_t flag = 0) {
    return call(operation, wire::PathRequest{std::move(path), 0, flag});
  }
  // Sends all of `bytes` and the end, as fast as the guest takes them.
  void feed(StreamLog& events, std::string_view bytes) {
    events.when_sendable = [&events, bytes, at = std::size_t{0}]() mutable {
      at += events.stream->send(0, bytes.substr(at));
      if (at == bytes.size()) events.stream->end(0);
    };
    events.when_sendable();
  }
  wire::ResultHeader write_file(const std::string& path, std::string_view bytes, std::uint32_t mode = 0) {
    const auto events = open(wire::Operation::FileWrite, wire::FileWriteRequest{path, mode});
    feed(*events, bytes);
    REQUIRE(wait(*events));
    REQUIRE(*events->result);
    return events->result->value();
  }

  base::EventLoop loop;
  SessionLog log;
  std::unique_ptr<backend::Worker> worker;
  std::unique_ptr<agent_client::Session> session;
};

}  // namespace sandforge::test
