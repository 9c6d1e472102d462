// SPDX-License-Identifier: Apache-2.0
#include "engine/spec.hpp"

#include <doctest/doctest.h>

#include "base/limits.hpp"

using namespace sandforge::engine;
using sandforge::base::Code;
namespace limits = sandforge::limits;

TEST_CASE("an empty spec becomes the defaults under a fresh id") {
  const auto spec = resolve_spec({});
  REQUIRE(spec);
  CHECK(spec.value().id.size() == 20);
  CHECK(spec.value().id.substr(0, 4) == "sbx-");
  CHECK(spec.value().cpu == limits::kCpuDefault);
  CHECK(spec.value().memory_mb == limits::kMemoryMbDefault);
  CHECK(spec.value().disk_gb == limits::kDiskGbDefault);
  CHECK(spec.value().timeout_sec == limits::kTimeoutSecDefault);
  CHECK(spec.value().network_mode == "offline");
  CHECK(spec.value().task_isolation == "container");
  CHECK(spec.value().image == "default");
  CHECK(spec.value().backend.empty());
}

TEST_CASE("the ends of every range are allowed and what lies beyond them is not") {
  struct Row {
    std::int64_t SandboxSpec::*field;
    std::int64_t low, high;
  };
  const Row rows[] = {{&SandboxSpec::cpu, 1, limits::kCpuMax},
                      {&SandboxSpec::memory_mb, limits::kMemoryMbMin, limits::kMemoryMbMax},
                      {&SandboxSpec::disk_gb, 1, limits::kDiskGbMax},
                      {&SandboxSpec::timeout_sec, 1, limits::kTimeoutSecMax}};
  for (const Row& row : rows) {
    for (const std::int64_t good : {row.low, row.high}) {
      SandboxSpec spec;
      spec.*row.field = good;
      CHECK(resolve_spec(spec));
    }
    for (const std::int64_t bad : {std::int64_t{-1}, INT64_MIN, row.high + 1, INT64_MAX}) {
      SandboxSpec spec;
      spec.*row.field = bad;
      const auto refused = resolve_spec(spec);
      REQUIRE_FALSE(refused);
      CHECK(refused.error().code == Code::InvalidArgument);
      CHECK(refused.error().reason == "invalid_spec");
    }
  }
}

TEST_CASE("ids are letters, digits, and after the first character _ . -") {
  for (const char* good : {"a", "7", "A_b.c-D", "sbx-0123456789abcdef"}) CHECK(is_valid_id(good));
  for (const char* bad : {"", ".", "..", "-a", "_a", "a/b", "a b", "a\n", "\xc3\xa4"}) CHECK_FALSE(is_valid_id(bad));
  CHECK(is_valid_id(std::string(limits::kIdMax, 'x')));
  CHECK_FALSE(is_valid_id(std::string(limits::kIdMax + 1, 'x')));
}

TEST_CASE("a hostname made of an id is lower case letters, digits and hyphens, at most 63") {
  CHECK(hostname_of("My_Box.1") == "my-box-1");
  CHECK(hostname_of(std::string(100, 'x')).size() == 63);
  CHECK(hostname_of("a--") == "a");
}

TEST_CASE("an exec without limits of its own gets the defaults") {
  ExecSpec given;
  given.argv = {"true"};
  const auto spec = resolve_exec(given);
  REQUIRE(spec);
  CHECK(spec.value().output_cap == limits::kOutputCapDefault);
  CHECK(spec.value().pids_max == limits::kPidsDefault);
}

TEST_CASE("arguments that no guest could take are refused") {
  const auto reason_of = [](ExecSpec spec) {
    const auto refused = resolve_exec(std::move(spec));
    return refused ? std::string("accepted") : refused.error().reason;
  };
  ExecSpec good;
  good.argv = {"true"};
  CHECK(reason_of(good) == "accepted");
  ExecSpec spec = good;
  spec.argv = {std::string("a\0b", 3)};
  CHECK(reason_of(spec) == "invalid_exec");
  spec = good;
  spec.argv.resize(limits::kArgsMax + 1, "x");
  CHECK(reason_of(spec) == "invalid_exec");
  spec = good;
  spec.argv.resize(20, std::string(100'000, 'x'));
  CHECK(reason_of(spec) == "invalid_exec");  // each fits, all together do not
  spec = good;
  spec.output_cap = limits::kOutputCapMax + 1;
  CHECK(reason_of(spec) == "invalid_exec");
  spec = good;
  spec.pids_max = limits::kPidsMax + 1;
  CHECK(reason_of(spec) == "invalid_exec");
  spec = good;
  spec.user = std::string(65, 'u');
  CHECK(reason_of(spec) == "invalid_exec");
}

TEST_CASE("guest paths are absolute, without NUL, below the limit") {
  CHECK(check_guest_path("/"));
  CHECK(check_guest_path("/\xff"));
  CHECK(check_guest_path("/" + std::string(limits::kPathMax - 2, 'x')));
  for (const std::string& bad :
       {std::string(), std::string("a"), std::string("/a\0b", 4), "/" + std::string(limits::kPathMax - 1, 'x')}) {
    CHECK_FALSE(check_guest_path(bad));
  }
}

TEST_CASE("what a guest names is made printable: UTF-8 stays, all else becomes hex digits") {
  CHECK(printable("plain \xc3\xa9") == "plain \xc3\xa9");
  CHECK(printable("a\nb\x7f") == "a\\x0ab\\x7f");
  CHECK(printable("\xff\xc3") == "\\xff\\xc3");
  CHECK(printable("\xed\xa0\x80") == "\\xed\\xa0\\x80");  // a surrogate
  CHECK(printable("\xc0\xaf") == "\\xc0\\xaf");           // overlong
  CHECK(printable(std::string(1000, 'x')).size() < 250);
}
