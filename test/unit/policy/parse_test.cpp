// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <string>

#include "base/limits.hpp"
#include "policy/policy.hpp"

using namespace sandforge::policy;
using sandforge::base::Code;

namespace {

std::string message_of(std::string_view text) {
  const auto policy = parse(text, "p.toml");
  REQUIRE_FALSE(policy);
  CHECK(policy.error().code == Code::InvalidArgument);
  CHECK(policy.error().reason == "invalid_policy");
  CHECK_FALSE(policy.error().remedy.empty());
  return policy.error().message;
}

Policy parsed(std::string_view text, Audience audience = Audience::Library) {
  auto policy = parse(text, "p.toml", defaults(audience));
  if (!policy) FAIL(policy.error().message);
  return std::move(policy).value();
}

}  // namespace

TEST_CASE("an empty policy file changes nothing") {
  for (const Audience audience : {Audience::Library, Audience::Loopback, Audience::Remote}) {
    const Policy policy = parsed("", audience);
    const Policy built_in = defaults(audience);
    CHECK(policy.cpu.value == built_in.cpu.value);
    CHECK(policy.network_modes.value == built_in.network_modes.value);
    CHECK(policy.own_directories.value == built_in.own_directories.value);
    CHECK(policy.file == "p.toml");
  }
}

TEST_CASE("a daemon that others reach gets no whole network and no directory unless a file says so") {
  CHECK(defaults(Audience::Library).network_modes.value == Words{"offline", "fetch", "full"});
  CHECK(defaults(Audience::Loopback).own_directories.value);
  CHECK(defaults(Audience::Remote).network_modes.value == Words{"offline", "fetch"});
  CHECK_FALSE(defaults(Audience::Remote).own_directories.value);
}

TEST_CASE("every key of a policy is read, with the line that set it") {
  const Policy policy = parsed(R"(version = 1
[limits]
cpu = 4
memory_mb = 2048
disk_gb = 20
timeout_sec = 600
sandboxes = 3
[network]
modes = ["offline"]
[backends]
allow = ["linux-kvm", "linux-qemu"]
min_isolation = "software_vm"
[mounts]
max = 2
own_directories = false
allow = ["/srv/a//b/", "/data/./x"]
allow_read_only = ["/srv/ref"]
allow_credentials = ["/home/ci"]
block = ["/srv/a/secret"]
[commands]
allow = ["git status", "make"]
block = ["git push"]
)");
  CHECK(policy.cpu.value == 4);
  CHECK(policy.cpu.line == 3);
  CHECK(policy.memory_mb.value == 2048);
  CHECK(policy.disk_gb.value == 20);
  CHECK(policy.timeout_sec.value == 600);
  CHECK(policy.sandboxes.value == 3);
  CHECK(policy.network_modes.value == Words{"offline"});
  CHECK(policy.network_modes.line == 9);
  CHECK(policy.backends.value == Words{"linux-kvm", "linux-qemu"});
  CHECK(policy.min_isolation.value == 2);
  CHECK(policy.mounts_max.value == 2);
  CHECK_FALSE(policy.own_directories.value);
  CHECK(policy.own_directories.line == 15);
  CHECK(policy.allow.value == Words{"/srv/a/b", "/data/x"});
  CHECK(policy.allow_read_only.value == Words{"/srv/ref"});
  CHECK(policy.allow_credentials.value == Words{"/home/ci"});
  CHECK(policy.block.value == Words{"/srv/a/secret"});
  CHECK(policy.commands_allow.value == Words{"git status", "make"});
  CHECK(policy.commands_block.value == Words{"git push"});
}

TEST_CASE("a broken policy is refused with its line, its column and what is wrong") {
  struct Row {
    const char* text;
    const char* expected;  // the message begins so
  };
  const Row rows[] = {
      {"[limits\ncpu = 1", "p.toml: line 1, column 8: "},
      {"[limits]\ncpu = ", "p.toml: line 2, column "},
      {"[limits]\ncpu = 1\ncpu = 2", "p.toml: line 3, column "},
      {"[limits]\ncpus = 1",
       "p.toml: line 2, column 1: unknown key \"cpus\", did you mean \"cpu\"?; known here: cpu, "},
      {"[limits]\nMemoryMB = 1", "p.toml: line 2, column 1: unknown key \"MemoryMB\", did you mean \"memory_mb\"?"},
      {"[limits]\nzebra = 1", "p.toml: line 2, column 1: unknown key \"zebra\"; known here: "},
      {"[mount]\nmax = 1", "p.toml: line 1, column 2: unknown key \"mount\", did you mean \"mounts\"?"},
      {"[limits]\ncpu = \"2\"", "p.toml: line 2, column 7: \"cpu\" must be an integer"},
      {"[limits]\ncpu = 2.5", "p.toml: line 2, column 7: \"cpu\" must be an integer"},
      {"[limits]\ncpu = 0", "p.toml: line 2, column 7: \"cpu\" is 0, but must be 1 to 32"},
      {"[limits]\ncpu = 33", "p.toml: line 2, column 7: \"cpu\" is 33, but must be 1 to 32"},
      {"[limits]\nmemory_mb = 127", "p.toml: line 2, column 13: \"memory_mb\" is 127, but must be 128 to "},
      {"[limits]\ndisk_gb = -1", "p.toml: line 2, column 11: \"disk_gb\" is -1, "},
      {"[limits]\nsandboxes = 5000", "p.toml: line 2, column 13: \"sandboxes\" is 5000, but must be 0 to 4096"},
      {"limits = 3", "p.toml: line 1, column 10: \"limits\" must be a table"},
      {"version = 2", "p.toml: line 1, column 11: \"version\" must be 1"},
      {"[network]\nmodes = \"offline\"", "p.toml: line 2, column 9: \"modes\" must be an array of strings"},
      {"[network]\nmodes = [\"offline\",\n \"ful\"]",
       "p.toml: line 3, column 2: \"modes\" holds \"ful\", did you mean \"full\"?; known are offline, fetch, full"},
      {"[network]\nmodes = []", "p.toml: line 2, column 9: \"modes\" is empty"},
      {"[network]\nmodes = [1]", "p.toml: line 2, column 10: \"modes\" must hold strings"},
      {"[backends]\nallow = [\"linux-kmv\"]",
       "p.toml: line 2, column 10: \"allow\" holds \"linux-kmv\", did you mean \"linux-kvm\"?"},
      {"[backends]\nallow = []", "p.toml: line 2, column 9: \"allow\" is empty"},
      {"[backends]\nmin_isolation = \"vm\"",
       "p.toml: line 2, column 17: \"min_isolation\" holds \"vm\"; known are none, "},
      {"[mounts]\nmax = 65", "p.toml: line 2, column 7: \"max\" is 65, but must be 0 to 64"},
      {"[mounts]\nown_directories = 1", "p.toml: line 2, column 19: \"own_directories\" must be true or false"},
      {"[mounts]\nallow = [\"src\"]", "p.toml: line 2, column 10: \"allow\" holds \"src\": \"src\" is not absolute"},
      {"[mounts]\nallow = [\"\"]", "p.toml: line 2, column 10: \"allow\" holds \"\": the path is empty"},
      {"[mounts]\nallow = [\"~/src\"]", "p.toml: line 2, column 10: \"allow\" holds \"~/src\"; write the whole path"},
      {"[mounts]\nblock = [\"/a\", \"/a/../b\"]",
       "p.toml: line 2, column 16: \"block\" holds \"/a/../b\": \"/a/../b\" has a component \"..\""},
      {"[mounts]\nblock = [\"/a\\u0000\"]",
       "p.toml: line 2, column 10: \"block\" holds \"/a\\x00\": the path holds a NUL"},
      {"[commands]\nallow = [\" git\"]", "p.toml: line 2, column 10: \"allow\" holds \" git\", but must be"},
      {"[commands]\nblock = [\"\"]", "p.toml: line 2, column 10: \"block\" holds \"\", but must be"},
      {"# caf\xc3\xa9", "p.toml: line 1, column 6: a character that is not ASCII"},
      {"\xef\xbb\xbf[limits]", "p.toml: line 1, column 1: a character that is not ASCII"},
  };
  for (const Row& row : rows) {
    const std::string message = message_of(row.text);
    CAPTURE(row.text);
    CHECK_MESSAGE(message.starts_with(row.expected), message);
  }
}

TEST_CASE("a policy file has an end, and so has each of its lists") {
  CHECK(message_of(std::string(sandforge::limits::kPolicyBytesMax + 1, '\n')).find("256 KiB") != std::string::npos);
  std::string many = "[mounts]\nallow = [";
  for (std::size_t i = 0; i <= sandforge::limits::kPolicyListMax; ++i) many += "\"/x\",";
  CHECK(message_of(many + "]").starts_with("p.toml: line 2, column 9: \"allow\" has 257 entries"));
}

TEST_CASE("an effective policy tells each value with where it comes from") {
  const auto settings = describe(parsed("[limits]\ncpu = 4\n[mounts]\nblock = ['/a\\b']", Audience::Loopback));
  REQUIRE(settings.size() == 16);
  CHECK(settings[0].key == "limits.cpu");
  CHECK(settings[0].value == "4");
  CHECK(settings[0].origin == "p.toml, line 2");
  CHECK(settings[1].key == "limits.memory_mb");
  CHECK(settings[1].origin == "built in, for a daemon on loopback");
  CHECK(settings[13].key == "mounts.block");
  CHECK(settings[13].value == "[\"/a\\\\b\"]");
  CHECK(settings[14].value == "any");
}
