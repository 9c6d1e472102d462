// SPDX-License-Identifier: Apache-2.0
// The session against the fake guest: whole operations, both ways, many at once.
#include "agent_client/fixture.hpp"
#include "backend/fake/fake_backend.hpp"

using namespace sandforge;
using namespace sandforge::test;

namespace {

struct Guest {
  explicit Guest(const std::string& id = "unit") {
    backend::LaunchPlan plan;
    plan.id = id;
    auto launched = backend::make_fake_backend()->launch(plan);
    REQUIRE(launched);
    worker = std::move(launched).value();
    auto socket = worker->connect();
    REQUIRE(socket);
    session = agent_client::start_session(loop, std::move(socket).value(), {"", "host-name", ""}, log);
  }
  void ready() { REQUIRE(run_until(loop, [&] { return log.hello.has_value(); })); }

  std::unique_ptr<StreamLog> open(std::string request) {
    auto events = std::make_unique<StreamLog>();
    auto stream = session->open(std::move(request), *events);
    REQUIRE(stream);
    events->stream = std::move(stream).value();
    return events;
  }
  std::unique_ptr<StreamLog> exec(std::vector<std::string> argv) {
    return open(wire::encode_open(wire::Operation::Exec, exec_of(std::move(argv))));
  }
  wire::ExecResult finish(StreamLog& events) {
    REQUIRE(run_until(loop, [&] { return events.result.has_value(); }));
    return events.exec();
  }

  base::EventLoop loop;
  SessionLog log;
  std::unique_ptr<backend::Worker> worker;
  std::unique_ptr<agent_client::Session> session;
};

}  // namespace

TEST_CASE("a command's output and verdict come back from the fake guest") {
  Guest guest;
  guest.ready();
  const auto echo = guest.exec({"echo", "hello", "world"});
  const auto verdict = guest.finish(*echo);
  CHECK(echo->data[1] == "hello world\n");
  CHECK(echo->ended[1]);
  CHECK(echo->ended[2]);
  CHECK(echo->meta.has_value());
  CHECK(verdict.exit_code == 0);
  CHECK(verdict.stdout_total == 12);
}
