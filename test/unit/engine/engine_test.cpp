// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.hpp"

#include <sys/stat.h>

#include <fstream>
#include <sstream>

#include "engine/engine_fixture.hpp"
#include "engine/exec_collect.hpp"
#include "engine/files.hpp"
#include "engine/process.hpp"

using namespace sandforge::engine;
using namespace sandforge::engine::test;
using sandforge::base::Code;
namespace fs = std::filesystem;
namespace wire = sandforge::wire;

namespace {

std::string text_of_file(const fs::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("the state directory is made private, and a second engine on it is told who must go") {
  const TempState temp;
  auto first = Engine::create(temp.options());
  REQUIRE(first);
  struct stat status {};
  REQUIRE(::stat(temp.state().c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0700);
  const auto second = Engine::create(temp.options());
  REQUIRE_FALSE(second);
  CHECK(second.error().code == Code::Conflict);
  CHECK(second.error().reason == "state_dir_in_use");
  CHECK(second.error().remedy.find(temp.state().string()) != std::string::npos);
  first.value().reset();
  CHECK(Engine::create(temp.options()));
}

TEST_CASE("a state directory that cannot be made is an error that names it") {
  EngineOptions options;
  options.state_dir = "/proc/no/such";
  const auto engine = Engine::create(options);
  REQUIRE_FALSE(engine);
  CHECK(engine.error().message.find("/proc/no") != std::string::npos);
  CHECK_FALSE(engine.error().remedy.empty());
}

TEST_CASE("what a killed engine left is removed by the next one") {
  const TempState temp;
  fs::create_directories(temp.state() / "sandboxes/left-over/deep");
  std::ofstream(temp.state() / "sandboxes/left-over/disk.img") << "bytes";
  const auto engine = Engine::create(temp.options());
  REQUIRE(engine);
  CHECK(fs::is_empty(temp.state() / "sandboxes"));
}

TEST_CASE("a sandbox's record is on disk while it lives, and nothing of it afterwards") {
  const TempState temp;
  auto engine = Engine::create(temp.options());
  REQUIRE(engine);
  const auto sandbox = create(*engine.value(), "recorded");
  REQUIRE(sandbox->wait_created(-1));
  const std::string record = text_of_file(temp.state() / "sandboxes/recorded/record.toml");
  CHECK(record.find("version = 1\n") == 0);
  CHECK(record.find("id = \"recorded\"\n") != std::string::npos);
  CHECK(record.find("state = \"ready\"\n") != std::string::npos);
  CHECK(sandbox->destroy());
  CHECK(fs::is_empty(temp.state() / "sandboxes"));
}

TEST_CASE("a failed create keeps its record and nothing else until it is destroyed") {
  const TempState temp;
  auto engine = Engine::create(temp.options());
  REQUIRE(engine);
  const auto sandbox = create(*engine.value(), "fake-fail-launch-x");
  CHECK_FALSE(sandbox->wait_created(-1));
  const fs::path directory = temp.state() / "sandboxes/fake-fail-launch-x";
  CHECK(std::distance(fs::directory_iterator(directory), fs::directory_iterator()) == 1);
  CHECK(text_of_file(directory / "record.toml").find("state = \"error\"\n") != std::string::npos);
  CHECK(sandbox->destroy());
  CHECK_FALSE(fs::exists(directory));
}

TEST_CASE("the number of sandboxes is bounded, failed ones not counted") {
  const TempState temp;
  EngineOptions options = temp.options();
  options.max_sandboxes = 2;
  auto engine = Engine::create(options);
  REQUIRE(engine);
  CHECK_FALSE(create(*engine.value(), "fake-fail-launch-1")->wait_created(-1));
  const auto one = create(*engine.value(), "one");
  create(*engine.value(), "two");
  const auto three = engine.value()->create_sandbox(fake_spec("three"), nullptr);
  REQUIRE_FALSE(three);
  CHECK(three.error().code == Code::Exhausted);
  CHECK(three.error().reason == "no_capacity");
  CHECK(one->destroy());
  CHECK(create(*engine.value(), "three")->wait_created(-1));
}

TEST_CASE("handles that outlive their engine answer disconnected") {
  const TempState temp;
  auto engine = Engine::create(temp.options());
  REQUIRE(engine);
  const auto sandbox = create(*engine.value(), "outlives");
  REQUIRE(sandbox->wait_created(-1));
  ExecSpec spec = command({"sleep", "30"});
  const auto process = std::make_shared<Process>(sandbox, spec, nullptr, nullptr);
  REQUIRE(process->begin());
  engine.value().reset();
  CHECK(sandbox->info().state == State::Destroyed);
  CHECK(sandbox->check_ready().error().code == Code::Disconnected);
  CHECK(sandbox->destroy().error().code == Code::Disconnected);
  CHECK(sandbox->wait_created(-1).error().code == Code::Disconnected);
  CHECK(process->kill().error().code == Code::Disconnected);
  CHECK(process->wait(-1).error().code == Code::Disconnected);
  CHECK(exec(sandbox, command({"true"})).error().code == Code::Disconnected);
  CHECK(stat_file(sandbox, "/").error().code == Code::Disconnected);
  process->release();
}

TEST_CASE("a function that blocks refuses to be called in a callback") {
  const TempState temp;
  auto engine = Engine::create(temp.options());
  REQUIRE(engine);
  const auto sandbox = create(*engine.value(), "callback");
  REQUIRE(sandbox->wait_created(-1));
  sandforge::base::Status status;
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  REQUIRE(engine.value()->core()->post([&] {
    auto answer = sandbox->destroy();
    const std::lock_guard lock(mutex);
    status = std::move(answer);
    done = true;
    changed.notify_all();
  }));
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return done; });
  REQUIRE_FALSE(status);
  CHECK(status.error().reason == "called_in_callback");
}
