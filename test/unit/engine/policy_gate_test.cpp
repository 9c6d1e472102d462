// SPDX-License-Identifier: Apache-2.0
// The engine and its policy: how it is read, and where it is asked.
#include "engine/policy_gate.hpp"

#include <algorithm>
#include <fstream>
#include <functional>

#include "engine/engine_fixture.hpp"
#include "engine/exec_collect.hpp"
#include "engine/mount_paths.hpp"
#include "engine/process.hpp"

using namespace sandforge::engine;
using namespace sandforge::engine::test;
using sandforge::base::Code;
using sandforge::policy::Audience;
namespace policy = sandforge::policy;

namespace {

std::unique_ptr<Engine> engine_with(const TempState& temp, std::string policy_text) {
  EngineOptions options = temp.options();
  options.policy_text = std::move(policy_text);
  auto engine = Engine::create(options);
  if (!engine) FAIL(engine.error().message);
  return std::move(engine).value();
}

std::string rule_of_create(Engine& engine, const std::function<void(SandboxSpec&)>& change) {
  SandboxSpec spec = fake_spec("judged");
  change(spec);
  const auto made = engine.create_sandbox(spec, nullptr);
  if (made) return "made";
  CHECK(made.error().code == Code::Denied);
  CHECK(made.error().reason == "policy_denied");
  CHECK_FALSE(made.error().remedy.empty());
  return made.error().rule;
}

}  // namespace

TEST_CASE("a policy comes from a file or from a text, and is refused before anything is made") {
  const TempState temp;
  const auto file = temp.state().parent_path() / "policy.toml";
  std::ofstream(file) << "[limits]\ncpu = 3\n";
  EngineOptions options = temp.options();
  options.policy_file = file;
  {
    const auto engine = Engine::create(options);
    REQUIRE(engine);
    const policy::Policy& policy = engine.value()->core()->policy();
    CHECK(policy.cpu.value == 3);
    CHECK(policy.file == file.string());
    CHECK(std::ranges::find(policy.host.state, file.string()) != policy.host.state.end());
    CHECK(std::ranges::find(policy.host.state, temp.state().string()) != policy.host.state.end());
    std::filesystem::remove_all(temp.state());
  }
  options.policy_text = "";
  CHECK(Engine::create(options).error().reason == "invalid_options");
  options.policy_text.reset();
  std::ofstream(file) << "[limits]\n cpus = 3\n";
  const auto broken = Engine::create(options);
  CHECK(broken.error().reason == "invalid_policy");
  CHECK(broken.error().message.starts_with(file.string() + ": line 2, column 2: unknown key"));
  options.policy_file = temp.state() / "none";
  CHECK(Engine::create(options).error().code == Code::NotFound);
  options.policy_file = "/dev/zero";
  CHECK_FALSE(Engine::create(options));
  options.policy_file.clear();
  options.audience = static_cast<Audience>(3);
  CHECK(Engine::create(options).error().reason == "invalid_options");
  CHECK_FALSE(std::filesystem::exists(temp.state()));
}

TEST_CASE("create asks the policy about every part, before it says what this version lacks") {
  const TempState temp;
  const auto engine = engine_with(temp, R"([limits]
cpu = 1
memory_mb = 256
[network]
modes = ["offline", "fetch"]
[backends]
allow = ["fake"]
[mounts]
block = ["/usr/share"]
)");
  CHECK(rule_of_create(*engine, [](SandboxSpec& spec) { spec.cpu = 2; }) == "limits.cpu");
  CHECK(rule_of_create(*engine, [](SandboxSpec& spec) { spec.memory_mb = 512; }) == "limits.memory_mb");
  CHECK(rule_of_create(*engine, [](SandboxSpec& spec) { spec.network_mode = "full"; }) == "network.modes");
  CHECK(rule_of_create(*engine, [](SandboxSpec& spec) { spec.backend = "linux-qemu"; }) == "backends.allow");
  CHECK(rule_of_create(*engine, [](SandboxSpec& spec) {
          spec.mounts = {{"/usr/share", "/x", true}};
        }) == "mounts.block");
  SandboxSpec fetch = fake_spec("fetch");
  fetch.network_mode = "fetch";
  CHECK(engine->create_sandbox(fetch, nullptr).error().reason == "network_unsupported");
  CHECK(engine->list().empty());
  // What is left open becomes what the policy allows.
  const auto made = create(*engine, "small");
  CHECK(made->spec().cpu == 1);
  CHECK(made->spec().memory_mb == 256);
}

TEST_CASE("the count of the policy is kept, and a place is free again once a sandbox is gone") {
  const TempState temp;
  const auto engine = engine_with(temp, "[limits]\nsandboxes = 1\n");
  const auto first = create(*engine, "first");
  REQUIRE(first->wait_created(-1));
  CHECK(rule_of_create(*engine, [](SandboxSpec&) {}) == "limits.sandboxes");
  REQUIRE(first->destroy());
  CHECK(rule_of_create(*engine, [](SandboxSpec&) {}) == "made");
}

TEST_CASE("auto and named backends keep to the policy's isolation") {
  const TempState temp;
  const auto engine = engine_with(temp, "[backends]\nmin_isolation = \"software_vm\"\n");
  CHECK(rule_of_create(*engine, [](SandboxSpec&) {}) == "backends.min_isolation");
  CHECK(rule_of_create(*engine, [](SandboxSpec& spec) { spec.backend = "fake"; }) == "backends.min_isolation");
}

TEST_CASE("a command that the policy refuses is not started, collected or streamed") {
  const TempState temp;
  const auto engine = engine_with(temp, "[commands]\nallow = [\"echo\"]\nblock = [\"echo no\"]\n");
  const auto sandbox = create(*engine, "commands");
  REQUIRE(sandbox->wait_created(-1));
  const auto done = exec(sandbox, command({"echo", "yes"}));
  REQUIRE(done);
  CHECK(done.value().out == "yes\n");
  const auto blocked = exec(sandbox, command({"echo", "no"}));
  REQUIRE_FALSE(blocked);
  CHECK(blocked.error().reason == "policy_denied");
  CHECK(blocked.error().rule == "commands.block");
  const auto process = std::make_shared<Process>(sandbox, command({"sh"}), nullptr, nullptr);
  const auto begun = process->begin();
  REQUIRE_FALSE(begun);
  CHECK(begun.error().rule == "commands.allow");
}

TEST_CASE("a spec is explained without an engine") {
  const TempState temp;
  EngineOptions options = temp.options();
  options.audience = Audience::Remote;
  SandboxSpec spec;
  spec.mounts = {{"/no/such", "/x", false}};
  const auto judgement = explain_spec(options, spec);
  REQUIRE(judgement);
  REQUIRE(judgement.value().first_refused() != nullptr);
  CHECK(judgement.value().first_refused()->verdict.rule == "mounts.allow");
  CHECK_FALSE(std::filesystem::exists(temp.state()));
  spec.cpu = -1;
  CHECK(explain_spec(options, spec).error().reason == "invalid_spec");
}

TEST_CASE("guest paths of mounts are absolute, outside the guest's kernel, and apart from each other") {
  for (const char* good : {"/workspace", "/workspace/", "//a/./b", "/process", "/device", "/a/..b", "/home/user/src"}) {
    CHECK_MESSAGE(check_mount_target(good), good);
  }
  CHECK(check_mount_target("//a/./b/").value() == "/a/b");
  using namespace std::string_literals;
  for (const std::string& bad : {""s, "src"s, "/"s, "//"s, "/."s, "/proc"s, "/proc/x"s, "/./sys"s, "/dev/"s, "/a/../b"s,
                                 "/.."s, "/a\0b"s, "/" + std::string(5000, 'x')}) {
    const auto refused = check_mount_target(bad);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().reason == "invalid_spec");
    CHECK_FALSE(refused.error().remedy.empty());
  }
  std::vector<Mount> apart = {{"/a", "/x/y", false}, {"/b", "/x/yz", false}, {"/c", "/x/z/", true}};
  CHECK(check_mounts(apart));
  CHECK(apart[2].guest_path == "/x/z");
  for (const char* other : {"/x", "/x/y", "/x/y/", "/x//y/z"}) {
    std::vector<Mount> overlapping = {{"/a", "/x/y", false}, {"/b", other, false}};
    const auto status = check_mounts(overlapping);
    REQUIRE_FALSE(status);
    CHECK(status.error().message.find("mounts[1].guest_path") != std::string::npos);
  }
}
