// SPDX-License-Identifier: Apache-2.0
// Guests that misbehave, by the scripts of the fake (backend/fake/backend.hpp): every one ends in a typed error or
// a verdict, and the sandbox can be destroyed.
#include <chrono>

#include "engine/engine_fixture.hpp"
#include "engine/exec_collect.hpp"
#include "engine/files.hpp"
#include "wire/boot_words.hpp"

using namespace sandforge::engine;
using namespace sandforge::engine::test;
using sandforge::base::Code;
namespace wire = sandforge::wire;

TEST_CASE("a guest that speaks another protocol version fails the create") {
  const TempState temp;
  auto engine = Engine::create(temp.options());
  REQUIRE(engine);
  const auto sandbox = create(*engine.value(), "fake-bad-version-1");
  const auto status = sandbox->wait_created(-1);
  REQUIRE_FALSE(status);
  CHECK(status.error().code == Code::GuestFault);
  CHECK(sandbox->info().state == State::Error);
  CHECK(sandbox->info().failure == status.error().message);
  CHECK(sandbox->destroy());
}

TEST_CASE("a guest whose kernel measured its timer wrongly is started anew, three times at most") {
  const TempState temp;
  auto engine = Engine::create(temp.options());
  REQUIRE(engine);
  const auto lucky = create(*engine.value(), "fake-bad-timer-once-1");
  CHECK(lucky->wait_created(-1));
  CHECK(exec(lucky, command({"true"})));
  CHECK(lucky->destroy());
  const auto unlucky = create(*engine.value(), "fake-bad-timer-1");
  const auto status = unlucky->wait_created(-1);
  REQUIRE_FALSE(status);
  CHECK(status.error().reason == "boot_failed");
  CHECK(status.error().message.find(wire::kBadTimer) != std::string::npos);
  CHECK(unlucky->destroy());
}

TEST_CASE("a guest that breaks the protocol after its hello becomes an error, and is killed") {
  const TempState temp;
  auto engine = Engine::create(temp.options());
  REQUIRE(engine);
  const auto sandbox = create(*engine.value(), "fake-garbage-1");
  (void)sandbox->wait_created(-1);  // ready for a moment, or not even that
  const auto outcome = exec(sandbox, command({"sleep", "30"}));
  if (outcome)
    CHECK(outcome.value().result.ended_by == wire::EndedBy::AgentLost);
  else
    CHECK((outcome.error().code == Code::Conflict || outcome.error().code == Code::GuestFault ||
           outcome.error().code == Code::Corrupt || outcome.error().code == Code::Disconnected));
  CHECK(sandbox->destroy());
  CHECK(sandbox->info().state == State::Destroyed);
}

TEST_CASE("a guest that dies ends all of its commands with vm_crash and its transfers with disconnected") {
  const TempState temp;
  auto engine = Engine::create(temp.options());
  REQUIRE(engine);
  const auto sandbox = create(*engine.value(), "fake-die-on-exec-1");
  REQUIRE(sandbox->wait_created(-1));
  const auto writer = open_write(sandbox, "/tmp/x", 0);
  REQUIRE(writer);
  const auto outcome = exec(sandbox, command({"true"}));
  REQUIRE(outcome);
  CHECK(outcome.value().result.ended_by == wire::EndedBy::VmCrash);
  CHECK(outcome.value().result.exit_code == 137);
  CHECK(outcome.value().result.reason.find("the VM ended") != std::string::npos);
  const auto finished = writer.value()->finish_write();
  REQUIRE_FALSE(finished);
  CHECK(finished.error().code == Code::Disconnected);
  CHECK(sandbox->info().failure_reason == "vm_crash");
  CHECK(sandbox->check_ready().error().reason == "not_ready");
  CHECK(sandbox->destroy());
  CHECK(sandbox->info().failure_reason == "vm_crash");
}

TEST_CASE("a guest that does not end a command in time is overruled by the host") {
  const TempState temp;
  auto engine = Engine::create(temp.options());
  REQUIRE(engine);
  const auto sandbox = create(*engine.value(), "fake-silent-1");
  REQUIRE(sandbox->wait_created(-1));
  const auto outcome = exec(sandbox, command({"true"}, 1));
  REQUIRE(outcome);
  CHECK(outcome.value().result.ended_by == wire::EndedBy::Timeout);
  CHECK(outcome.value().result.exit_code == 124);
  CHECK(sandbox->destroy());
}

TEST_CASE("destroying a guest that never says hello is possible at once") {
  const TempState temp;
  auto engine = Engine::create(temp.options());
  REQUIRE(engine);
  const auto sandbox = create(*engine.value(), "fake-fail-hello-1");
  CHECK(sandbox->wait_created(50).error().code == Code::TimedOut);
  CHECK(sandbox->info().state == State::Provisioning);
  CHECK(sandbox->destroy());
  const auto status = sandbox->wait_created(-1);
  REQUIRE_FALSE(status);
  CHECK(status.error().code == Code::Conflict);
  CHECK(status.error().reason == "destroyed");
}

TEST_CASE("an engine can be closed while sandboxes are being created") {
  const TempState temp;
  auto engine = Engine::create(temp.options());
  REQUIRE(engine);
  std::vector<std::shared_ptr<Sandbox>> sandboxes;
  for (int i = 0; i < 10; ++i) sandboxes.push_back(create(*engine.value(), "closing-" + std::to_string(i)));
  engine.value().reset();
  for (const auto& sandbox : sandboxes) CHECK(sandbox->info().state == State::Destroyed);
  CHECK(std::filesystem::is_empty(temp.state() / "sandboxes"));
}
