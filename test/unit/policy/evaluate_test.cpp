// SPDX-License-Identifier: Apache-2.0
#include "policy/evaluate.hpp"

#include <doctest/doctest.h>

#include "base/limits.hpp"

using namespace sandforge::policy;
namespace limits = sandforge::limits;

namespace {

SpecFacts usual() {
  SpecFacts facts;
  facts.cpu = limits::kCpuDefault;
  facts.memory_mb = limits::kMemoryMbDefault;
  facts.disk_gb = limits::kDiskGbDefault;
  facts.timeout_sec = limits::kTimeoutSecDefault;
  facts.network_mode = "offline";
  return facts;
}

Policy strict() {
  Policy policy = defaults(Audience::Loopback);
  policy.cpu = {4, 2};
  policy.memory_mb = {2048, 3};
  policy.disk_gb = {20, 4};
  policy.timeout_sec = {3600, 5};
  policy.sandboxes = {2, 6};
  policy.network_modes = {{"offline"}, 8};
  policy.backends = {Words{"linux-qemu"}, 10};
  policy.min_isolation = {2, 11};
  policy.mounts_max = {1, 13};
  return policy;
}

const Verdict* refusal(const Judgement& judgement, const char* part) {
  const Part* refused = judgement.first_refused();
  if (refused == nullptr) return nullptr;
  CHECK(refused->name == part);
  return &refused->verdict;
}

std::vector<std::string> words(std::string text) {
  std::vector<std::string> all;
  for (std::size_t end = 0; !text.empty(); text.erase(0, end == std::string::npos ? end : end + 1)) {
    end = text.find(' ');
    all.push_back(text.substr(0, end));
  }
  return all;
}

}  // namespace

TEST_CASE("each number of a spec is judged by the limit of its name") {
  struct Row {
    std::int64_t SpecFacts::*field;
    const char* part;
    const char* rule;
    std::int64_t most;
  };
  const Row rows[] = {{&SpecFacts::cpu, "cpu", "limits.cpu", 4},
                      {&SpecFacts::memory_mb, "memory_mb", "limits.memory_mb", 2048},
                      {&SpecFacts::disk_gb, "disk_gb", "limits.disk_gb", 20},
                      {&SpecFacts::timeout_sec, "timeout_sec", "limits.timeout_sec", 3600}};
  for (const Row& row : rows) {
    SpecFacts facts = usual();
    facts.*row.field = row.most;
    CHECK(evaluate(strict(), facts).status());
    facts.*row.field = row.most + 1;
    const Judgement judgement = evaluate(strict(), facts);
    const Verdict* verdict = refusal(judgement, row.part);
    REQUIRE(verdict != nullptr);
    CHECK(verdict->rule == row.rule);
    CHECK(verdict->reason.find("of the policy)") != std::string::npos);
    const auto status = judgement.status();
    CHECK(status.error().code == sandforge::base::Code::Denied);
    CHECK(status.error().reason == "policy_denied");
    CHECK(status.error().rule == row.rule);
    CHECK(status.error().message.starts_with(std::string("spec: ") + row.part + ": "));
    CHECK(status.error().remedy.find(row.rule) != std::string::npos);
  }
}

TEST_CASE("every part of a spec has its verdict, also when an earlier one is refused") {
  SpecFacts facts = usual();
  facts.cpu = 5;
  facts.network_mode = "full";
  const Judgement judgement = evaluate(strict(), facts);
  REQUIRE(judgement.parts.size() == 7);
  CHECK_FALSE(judgement.parts[1].verdict.allowed);
  CHECK_FALSE(judgement.parts[5].verdict.allowed);
  CHECK(judgement.parts[5].verdict.rule == "network.modes");
  for (const Part& part : judgement.parts) CHECK_FALSE(part.verdict.reason.empty());
}

TEST_CASE("network modes, backends and isolation keep to their lists") {
  SpecFacts facts = usual();
  facts.network_mode = "fetch";
  CHECK(evaluate(defaults(Audience::Remote), facts).status());
  facts.network_mode = "full";
  CHECK(evaluate(defaults(Audience::Loopback), facts).status());
  CHECK_FALSE(evaluate(defaults(Audience::Remote), facts).status());
  facts = usual();
  facts.backend = "linux-kvm";
  CHECK(refusal(evaluate(strict(), facts), "backend")->rule == "backends.allow");
  facts.backend = "linux-qemu";
  CHECK(evaluate(strict(), facts).status());
  CHECK(allows_backend(strict(), "linux-qemu"));
  CHECK_FALSE(allows_backend(strict(), "fake"));
  CHECK(evaluate_backend(strict(), "linux-qemu", 2).allowed);
  CHECK(evaluate_backend(strict(), "linux-qemu", 1).rule == "backends.min_isolation");
  CHECK(evaluate_backend(strict(), "fake", 3).rule == "backends.allow");
  CHECK(evaluate_backend(defaults(Audience::Remote), "fake", 0).allowed);
}

TEST_CASE("one more sandbox is allowed up to the policy's count") {
  CHECK(evaluate_count(strict(), 0).allowed);
  CHECK(evaluate_count(strict(), 1).allowed);
  const Verdict full = evaluate_count(strict(), 2);
  CHECK_FALSE(full.allowed);
  CHECK(full.rule == "limits.sandboxes");
  CHECK(full.reason == "there are 2 sandboxes, and the policy allows 2 (line 6 of the policy)");
}

TEST_CASE("mounts are counted before any is looked at, and one directory is mounted once") {
  SpecFacts facts = usual();
  facts.mounts = {{"/missing/a", true}, {"/missing/b", true}};
  const Judgement many = evaluate(strict(), facts);
  CHECK(refusal(many, "mounts")->rule == "mounts.max");
  CHECK(many.parts.size() == 7);

  Policy policy = defaults(Audience::Library);
  policy.allow.value = {"/usr/share"};
  facts.mounts = {{"/usr/share", true}, {"/usr/share/", false}};
  const Judgement twice = evaluate(policy, facts);
  const Verdict* verdict = refusal(twice, "mounts[1].host_path");
  REQUIRE(verdict != nullptr);
  CHECK(verdict->word == "duplicate_mount");
  CHECK(verdict->reason.find("mounts[0]") != std::string::npos);
  facts.mounts.pop_back();
  const Judgement once = evaluate(policy, facts);
  CHECK(once.status());
  REQUIRE(once.mounts.size() == 1);
  CHECK(once.mounts[0].path == "/usr/share");
}

TEST_CASE("commands are judged by their words, a block first") {
  Policy policy = defaults(Audience::Library);
  CHECK(evaluate_command(policy, words("rm -rf /")).allowed);
  policy.commands_block = {{"git push", "/usr/bin/curl"}, 9};
  CHECK(evaluate_command(policy, words("git status")).allowed);
  CHECK_FALSE(evaluate_command(policy, words("git push origin")).allowed);
  CHECK_FALSE(evaluate_command(policy, words("/usr/bin/git push")).allowed);
  CHECK(evaluate_command(policy, words("git pushes")).allowed);
  CHECK(evaluate_command(policy, words("git -C . push")).allowed);  // words, not meaning
  CHECK_FALSE(evaluate_command(policy, words("/usr/bin/curl x")).allowed);
  CHECK(evaluate_command(policy, words("curl x")).allowed);
  policy.commands_allow = {Words{"git", "make test"}, 8};
  CHECK(evaluate_command(policy, words("git log")).allowed);
  CHECK(evaluate_command(policy, words("git push")).rule == "commands.block");
  CHECK(evaluate_command(policy, words("make test")).allowed);
  CHECK(evaluate_command(policy, words("make test -j2")).allowed);
  CHECK_FALSE(evaluate_command(policy, words("make")).allowed);
  CHECK_FALSE(evaluate_command(policy, words("gitk")).allowed);
  CHECK_FALSE(evaluate_command(policy, {}).allowed);
  const Verdict refused = evaluate_command(policy, words("sh"));
  CHECK(refused.rule == "commands.allow");
  CHECK(refused.reason.find("line 8") != std::string::npos);
}
