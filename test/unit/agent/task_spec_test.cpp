// SPDX-License-Identifier: Apache-2.0
// Exec requests: what is refused, and what the defaults make of the rest.
#include "agent/task_spec.hpp"

#include <doctest/doctest.h>

#include <algorithm>

using namespace sandforge;

namespace {
wire::ExecRequest request_of(std::vector<std::string> argv, std::vector<std::string> env = {}) {
  wire::ExecRequest request;
  request.argv = std::move(argv);
  request.env = std::move(env);
  return request;
}
}  // namespace

TEST_CASE("a command line that cannot be one is refused") {
  CHECK_FALSE(agent::check_exec(request_of({})));
  CHECK_FALSE(agent::check_exec(request_of({""})));
  CHECK_FALSE(agent::check_exec(request_of({std::string("a\0b", 3)})));
  CHECK_FALSE(agent::check_exec(request_of({"a"}, {"novalue"})));
  CHECK_FALSE(agent::check_exec(request_of({"a"}, {"=x"})));
  CHECK_FALSE(agent::check_exec(request_of({"a"}, {std::string("A=\0", 3)})));
  wire::ExecRequest relative = request_of({"a"});
  relative.cwd = "tmp";
  CHECK_FALSE(agent::check_exec(relative));
  CHECK(agent::check_exec(request_of({"a", ""}, {"A="})));
}

TEST_CASE("the environment has defaults, the caller's entries win, and the last of a key counts") {
  agent::User user;
  user.home = "/home/ann";
  const auto spec = agent::make_spec(request_of({"x"}, {"A=1", "LANG=C", "A=2=3"}), user);
  CHECK(spec.env ==
        std::vector<std::string>{"PATH=" + std::string(agent::kDefaultPath), "HOME=/home/ann", "LANG=C", "A=2=3"});
  CHECK(spec.cwd == "/");
}

TEST_CASE("a program is looked for in the task's own PATH, one with a slash nowhere else") {
  CHECK(agent::make_spec(request_of({"x"}, {"PATH=/a::/b"}), {}).candidates ==
        std::vector<std::string>{"/a/x", "./x", "/b/x"});
  CHECK(agent::make_spec(request_of({"./x"}, {"PATH=/a"}), {}).candidates == std::vector<std::string>{"./x"});
  CHECK(agent::make_spec(request_of({"x"}, {"PATH="}), {}).candidates == std::vector<std::string>{"./x"});
}

TEST_CASE("pointers end in a null pointer") {
  std::vector<std::string> strings = {"a", ""};
  const auto pointers = agent::pointers_of(strings);
  REQUIRE(pointers.size() == 3);
  CHECK(std::string(pointers[0]) == "a");
  CHECK(pointers[2] == nullptr);
}
