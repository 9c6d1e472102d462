// SPDX-License-Identifier: Apache-2.0
#include "base/process.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

using namespace sandforge::base;

namespace {
SpawnOptions shell(std::string script) {
  SpawnOptions options;
  options.program = "/bin/sh";
  options.args = {"-c", std::move(script)};
  return options;
}
}  // namespace

TEST_CASE("a program gets its input and both outputs come back apart") {
  RunOptions options;
  options.input = std::string(300'000, 'x');
  const auto result = run(shell("wc -c; echo oops >&2; exit 3"), options);
  REQUIRE(result);
  CHECK(result.value().out == "300000\n");
  CHECK(result.value().err == "oops\n");
  CHECK(describe_wait_status(result.value().status) == "exited with status 3");
}

TEST_CASE("a child has an empty environment and no descriptor but the declared") {
  const UniqueFd stray(::open("/dev/zero", O_RDONLY));  // on purpose not close-on-exec
  const auto result = run(shell("echo ${HOME-none}; ls /proc/self/fd | tr '\\n' ' '; umask"));
  REQUIRE(result);
  // 3 is the directory that ls itself reads.
  CHECK(result.value().out == "none\n0 1 2 3 0077\n");
}

TEST_CASE("a child in a PID namespace of its own is the first process there, and nobody's child") {
  SpawnOptions options = shell("echo $$ $PPID");
  options.own_pids = true;
  const auto result = run(std::move(options));
  REQUIRE(result);
  CHECK(result.value().out == "1 0\n");
}

TEST_CASE("a program that does not exist is not_found and leaves no child") {
  SpawnOptions options;
  options.program = "/nonexistent/program";
  const auto child = spawn(options);
  REQUIRE_FALSE(child);
  CHECK(child.error().code == Code::NotFound);
  CHECK(child.error().os_errno == ENOENT);
}

TEST_CASE("a child is born into the control group that was named") {
  std::string hierarchy, line;
  for (std::ifstream mounts("/proc/self/mounts"); std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string source, folder, type;
    words >> source >> folder >> type;
    if (type == "cgroup2") hierarchy = folder;
  }
  const std::string name = "/sandforge-test-" + std::to_string(::getpid());
  if (hierarchy.empty() || ::mkdir((hierarchy + name).c_str(), 0755) != 0) {
    MESSAGE("no place for control groups here");
    return;
  }
  for (const bool own_pids : {false, true}) {
    SpawnOptions options = shell("cat /proc/self/cgroup");
    options.own_pids = own_pids;
    const UniqueFd folder(::open((hierarchy + name).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    options.cgroup = folder.get();
    const auto result = run(std::move(options));
    CHECK(result);
    if (result) CHECK(result.value().out.find("0::" + name + "\n") != std::string::npos);
  }
  CHECK(::rmdir((hierarchy + name).c_str()) == 0);
}

TEST_CASE("a folder that is no control group is an error and leaves no child") {
  SpawnOptions options = shell("exit 0");
  const UniqueFd folder(::open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC));
  options.cgroup = folder.get();
  CHECK_FALSE(spawn(options));
  CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
}

TEST_CASE("destroying a child kills and reaps it") {
  pid_t pid = 0;
  {
    auto child = spawn(shell("sleep 100"));
    REQUIRE(child);
    pid = child.value().pid();
    CHECK(::kill(pid, 0) == 0);
  }
  CHECK(::kill(pid, 0) == -1);
}

TEST_CASE("a child that does not read its input does not stop the run") {
  RunOptions options;
  options.input = std::string(1'000'000, 'x');
  const auto result = run(shell("exec true"), options);
  REQUIRE(result);
  CHECK(result.value().ok());
}

TEST_CASE("lines of stderr are told as they come and output over the cap is drained") {
  std::vector<std::string> lines;
  RunOptions options;
  options.output_cap = 10;
  options.on_error_line = [&](std::string_view line) { lines.emplace_back(line); };
  const auto result = run(shell("printf 'a\\rb\\nc' >&2; head -c 100000 /dev/zero"), options);
  REQUIRE(result);
  CHECK(lines == std::vector<std::string>{"a", "b", "c"});
  CHECK(result.value().out.size() == 10);
}

TEST_CASE("programs are searched in absolute PATH entries only") {
  CHECK(find_program("sh", "/nonexistent:/bin") == "/bin/sh");
  CHECK(find_program("sh", "::bin:").empty());
  CHECK(find_program("no-such-program-at-all").empty());
}

TEST_CASE("root's child runs under the ids that were named, without capabilities, and dies with its parent still") {
  if (::geteuid() != 0) return;  // only root can
  SpawnOptions options = shell("grep -E '^(Uid|Gid|Groups|CapEff|NoNewPrivs)' /proc/self/status");
  options.uid = 54321;
  options.gid = 54322;
  options.groups = {54323};
  options.no_new_privs = true;
  options.die_with_parent = true;
  const auto result = run(options);
  REQUIRE(result);
  CHECK(result.value().out ==
        "Uid:\t54321\t54321\t54321\t54321\nGid:\t54322\t54322\t54322\t54322\nGroups:\t54323 \n"
        "CapEff:\t0000000000000000\nNoNewPrivs:\t1\n");
  // The child shared our memory until its exec; what the kernel keeps with that memory must be as before.
  CHECK(::prctl(PR_GET_DUMPABLE) == 1);
  CHECK(::geteuid() == 0);
}

TEST_CASE("a child in an empty network has the loopback device alone") {
  SpawnOptions options = shell("tail -n +3 /proc/self/net/dev | cut -d: -f1 | tr -d ' '");
  options.empty_network = true;
  const auto result = run(options);
  REQUIRE(result);
  CHECK(result.value().out == "lo\n");
}
