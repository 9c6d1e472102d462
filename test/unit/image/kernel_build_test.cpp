// SPDX-License-Identifier: Apache-2.0
#include "image/kernel_build.hpp"

#include <doctest/doctest.h>

#include <unistd.h>

#include <set>

#include "image/digest.hpp"
#include "image/private_apt.hpp"
#include "scratch.hpp"

namespace sandforge::image {
namespace {

const KernelBuildInputs kInputs{"linux-source-6.1", "6.1.1-1", "CONFIG_A=y\n", "gcc 12", "ld 2.40"};

TEST_CASE("a built kernel's key depends on source, version, configuration, compiler and linker") {
  std::set<std::string> keys = {kernel_build_key(kInputs)};
  CHECK(is_digest(*keys.begin()));
  for (std::string KernelBuildInputs::*member : {&KernelBuildInputs::package, &KernelBuildInputs::version,
                                                 &KernelBuildInputs::compiler, &KernelBuildInputs::linker}) {
    KernelBuildInputs changed = kInputs;
    changed.*member += "x";
    CHECK(keys.insert(kernel_build_key(changed)).second);
  }
  KernelBuildInputs other = kInputs;
  other.config = "# CONFIG_A is not set\n";
  CHECK(keys.insert(kernel_build_key(other)).second);
}

TEST_CASE("a comment in the configuration does not make a kernel another one") {
  KernelBuildInputs commented = kInputs;
  commented.config = "# A, because.\n\nCONFIG_A=y\n";
  CHECK(kernel_build_key(commented) == kernel_build_key(kInputs));
}

TEST_CASE("what apt says of a package gives the concrete package and its version") {
  constexpr std::string_view kDepends = "linux-source\n  Depends: linux-source-6.1\n  Breaks: x\n";
  CHECK(parse_depends(kDepends, "linux-source-") == "linux-source-6.1");
  CHECK(parse_depends("linux-source-6.1\n  Depends: binutils\n", "linux-source-") == "");
  CHECK(parse_depends("", "linux-source-") == "");
  CHECK(parse_version("Package: a\nVersion: 6.1.192-2\nPriority: optional\n") == "6.1.192-2");
  CHECK(parse_version("Package: a\nVersion: 1") == "1");
  CHECK(parse_version("Package: a\n") == "");
}

TEST_CASE("the kernel's sources are changed in the places meant, once and only there") {
  test::Scratch scratch;
  const char* const acpi = "drivers/acpi/acpica/evhandler.c";
  const char* const memory = "arch/x86/mm/init.c";
  scratch.write(acpi,
                "list = {\n\tMEMORY,\n\tACPI_ADR_SPACE_PCI_CONFIG,\n\tTABLE\n};\ncase ACPI_ADR_SPACE_PCI_CONFIG:\n");
  scratch.write(memory, "free(a, b,\n\t\t\t\t   POISON_FREE_INITMEM, what);\nfree(POISON_FREE_INITMEM);\n");
  CHECK(edit_source(scratch.path()).value() == 2);
  const std::string changed = test::slurp(scratch / acpi) + test::slurp(scratch / memory);
  CHECK(changed ==
        "list = {\n\tMEMORY,\n\tTABLE\n};\ncase ACPI_ADR_SPACE_PCI_CONFIG:\n"
        "free(a, b,\n\t\t\t\t   -1, what);\nfree(POISON_FREE_INITMEM);\n");
  CHECK(edit_source(scratch.path()).value() == 0);
  CHECK(test::slurp(scratch / acpi) + test::slurp(scratch / memory) == changed);
  test::fs::remove(scratch / memory);
  CHECK_FALSE(edit_source(scratch.path()));
}

TEST_CASE("the compiler's lines become progress that ends only when the build does") {
  std::vector<std::uint64_t> done;
  std::uint64_t all = 0;
  const Progress progress = [&](std::string_view step, std::uint64_t now, std::uint64_t total) {
    CHECK(step == "compile kernel");
    done.push_back(now);
    all = total;
  };
  CompileProgress ticks(progress);
  ticks.line("  CC      init/main.o");
  ticks.line("  AS      arch/x86/entry/entry_64.o");
  ticks.line("make[1]: Entering directory");
  ticks.line("");
  CHECK(ticks.objects() == 2);
  CHECK(done == std::vector<std::uint64_t>{0, 1, 2});
  for (int i = 0; i < 10'000; ++i) ticks.line("  CC      x.o");
  CHECK(done.back() == all - 1);
  ticks.end();
  CHECK(done.back() == all);
}

TEST_CASE("a tool that root runs unprivileged is nobody, has no capability and no network") {
  if (::geteuid() != 0) return;
  const auto output = run_tool({.tool = {"sh", "dash"},
                                .args = {"-c",
                                         "id -u; id -g; id -G; grep CapBnd /proc/self/status; ls /sys/class/net; "
                                         "grep -c : /proc/net/dev"},
                                .starts_others = true,
                                .unprivileged = true});
  REQUIRE_MESSAGE(output, output.error().message);
  CHECK(output.value().starts_with("65534\n65534\n65534\nCapBnd:\t0000000000000000\n"));
  CHECK(output.value().ends_with("\n1\n"));  // lo
}

TEST_CASE("a tool whose outputs are merged tells its lines of both") {
  std::vector<std::string> lines;
  ToolRun run{.tool = {"sh", "dash"}, .args = {"-c", "echo one; echo two >&2"}};
  run.merge_output = true;
  run.on_line = [&](std::string_view line) { lines.emplace_back(line); };
  const auto output = run_tool(run);
  REQUIRE(output);
  CHECK(output.value().empty());
  CHECK(lines == std::vector<std::string>{"one", "two"});
}

}  // namespace
}  // namespace sandforge::image
