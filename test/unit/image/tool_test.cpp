// SPDX-License-Identifier: Apache-2.0
#include "image/tool.hpp"

#include <doctest/doctest.h>

#include <unistd.h>

#include <vector>

#include "image/modules.hpp"
#include "scratch.hpp"

namespace sandforge::image {
namespace {

TEST_CASE("missing tools are told all at once, with the packages to install") {
  const auto status = require_tools({{"sf-none-a", "pkg-a"}, kTar, {"sf-none-b", "pkg-b"}, {"sf-none-c", "pkg-a"}});
  REQUIRE_FALSE(status);
  CHECK(status.error().code == base::Code::Unsupported);
  CHECK(status.error().reason == "tool_missing");
  CHECK(status.error().message == "not installed here: sf-none-a, sf-none-b, sf-none-c");
  CHECK(status.error().remedy == "apt-get install pkg-a pkg-b");
}

TEST_CASE("a tool's redirections, environment and lines reach it, and its failure tells its last lines") {
  test::Scratch scratch;
  const Tool shell{"sh", "dash"};
  scratch.write("in", "from a file");
  ToolRun copy{.tool = shell, .args = {"-c", "cat; echo \"$X\"; umask"}, .env = {"X=1"}};
  copy.stdin_file = scratch / "in";
  copy.stdout_file = scratch / "out";
  REQUIRE(run_tool(copy));
  CHECK(test::slurp(scratch / "out") == "from a file1\n0022\n");

  std::vector<std::string> lines;
  ToolRun fail{.tool = shell, .args = {"-c", "echo one >&2; echo two >&2; exit 3"}};
  fail.on_line = [&](std::string_view line) { lines.emplace_back(line); };
  const auto failed = run_tool(fail);
  REQUIRE_FALSE(failed);
  CHECK(failed.error().reason == "tool_failed");
  CHECK(failed.error().message == "sh exited with status 3: one; two");
  CHECK(lines == std::vector<std::string>{"one", "two"});
}

TEST_CASE("what apt says about the network or the disk becomes an error that says what to do") {
  const Tool shell{"sh", "dash"};
  ToolRun run{.tool = shell,
              .args = {"-c", "echo 'W: x' >&2; echo 'E: Failed to fetch http://m.test/x' >&2; exit 100"}};
  const auto network = run_tool(run);
  CHECK(network.error().code == base::Code::Disconnected);
  CHECK(network.error().reason == "mirror_unreachable");
  CHECK(network.error().message.ends_with(": W: x; E: Failed to fetch http://m.test/x"));
  run.args[1] = "echo 'write error: No space left on device' >&2; exit 2";
  CHECK(run_tool(run).error().code == base::Code::Exhausted);
}

TEST_CASE("a tool that leaves a process behind does not keep the caller waiting, and the process ends") {
  test::Scratch scratch;
  ToolRun run{.tool = {"sh", "dash"}, .args = {"-c", "sleep 1000 & echo $! >pid; echo done"}, .cwd = scratch.path()};
  run.starts_others = true;
  run.stdout_file = scratch / "out";
  if (::geteuid() != 0) return;  // needs a PID namespace
  REQUIRE(run_tool(run));
  CHECK(test::slurp(scratch / "out") == "done\n");
}

TEST_CASE("of modprobe's dependencies the files to load remain, in order, without options") {
  const auto files = parse_show_depends(
      "insmod /m/virtio_ring.ko \ninsmod /m/virtio.ko opt=1\nbuiltin ext4\ninstall /bin/false\ninsmod /m/last.ko");
  CHECK(files == std::vector<std::filesystem::path>{"/m/virtio_ring.ko", "/m/virtio.ko", "/m/last.ko"});
}

}  // namespace
}  // namespace sandforge::image
