// SPDX-License-Identifier: Apache-2.0
#include "cli/args.hpp"

#include <doctest/doctest.h>

using namespace sandforge::cli;

namespace {
const std::vector<Flag> kFlags = {{"--cpu"}, {"-e", true, "--env"}, {"--force", false}};
Args parse(const std::vector<std::string>& words, Args::Stop stop = Args::Stop::AtFirstWord) {
  return Args(words, kFlags, stop);
}
}  // namespace

TEST_CASE("flags take their values with and without '='") {
  const Args args = parse({"--cpu", "2", "--env=A=1", "-e", "B=2", "--force", "cmd"});
  CHECK(args.number("--cpu", 0) == 2);
  CHECK(args.all("-e") == std::vector<std::string>{"A=1", "B=2"});
  CHECK(args.has("--force"));
  CHECK(args.rest() == std::vector<std::string>{"cmd"});
}

TEST_CASE("flags end at the command, so that its own flags are its own") {
  const Args args = parse({"--cpu", "2", "ls", "--help", "--cpu", "3", "--", "-x"});
  CHECK_FALSE(args.help());
  CHECK(args.number("--cpu", 0) == 2);
  CHECK(args.rest() == std::vector<std::string>{"ls", "--help", "--cpu", "3", "--", "-x"});
}

TEST_CASE("'--' ends the flags and is not part of the command") {
  CHECK(parse({"--force", "--", "--cpu"}).rest() == std::vector<std::string>{"--cpu"});
}

TEST_CASE("a single hyphen is a word") { CHECK(parse({"-", "x"}).rest().size() == 2); }

TEST_CASE("flags may follow words where there is no command") {
  const Args args = parse({"build", "--force", "x"}, Args::Stop::Never);
  CHECK(args.has("--force"));
  CHECK(args.rest() == std::vector<std::string>{"build", "x"});
}

TEST_CASE("bad command lines are usage errors") {
  CHECK_THROWS_AS(parse({"--nope"}), UsageError);
  CHECK_THROWS_AS(parse({"-x"}), UsageError);
  CHECK_THROWS_AS(parse({"--cpu"}), UsageError);
  CHECK_THROWS_AS(parse({"--force=1"}), UsageError);
  CHECK_THROWS_AS(parse({"--cpu", "two"}).number("--cpu", 0), UsageError);
  CHECK_THROWS_AS(parse({"--cpu", ""}).number("--cpu", 0), UsageError);
  CHECK_THROWS_AS(parse({"--cpu", "99999999999999999999"}).number("--cpu", 0), UsageError);
}

TEST_CASE("the last value of a flag counts") { CHECK(parse({"--cpu", "1", "--cpu", "2"}).number("--cpu", 0) == 2); }
