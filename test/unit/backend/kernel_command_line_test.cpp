// SPDX-License-Identifier: Apache-2.0
#include "backend/kernel_command_line.hpp"

#include <doctest/doctest.h>

#include <string>

using sandforge::backend::kernel_command_line;
using sandforge::backend::KernelBootFacts;

namespace {

bool has(const std::string& line, const std::string& parameter) {
  return (" " + line + " ").find(" " + parameter + " ") != std::string::npos;
}

}  // namespace

TEST_CASE("a kernel on an emulated CPU is told how fast its TSC ticks and how long a jiffy is") {
  const std::string line = kernel_command_line({.emulated_cpu = true, .tsc_khz = 2'596'123});
  CHECK(has(line, "tsc_early_khz=2596123"));
  CHECK(has(line, "lpj=25961230"));
  CHECK(has(line, "tsc=reliable"));
  CHECK(has(line, "percpu_alloc=page"));
  CHECK(line.find("sandforge.timer_khz") == std::string::npos);
  const KernelBootFacts measured{.emulated_cpu = true, .tsc_khz = 2'596'123, .timer_khz = 62'500};
  CHECK(has(kernel_command_line(measured), "sandforge.timer_khz=62500"));
}

TEST_CASE("a kernel on hardware virtualisation finds out for itself") {
  const std::string line = kernel_command_line({});
  CHECK(line.find("tsc_early_khz") == std::string::npos);
  CHECK(line.find("lpj=") == std::string::npos);
}

TEST_CASE("the console is the serial port only where there is one") {
  CHECK(has(kernel_command_line({.serial_console = true}), "console=ttyS0"));
  CHECK(kernel_command_line({}).find("console=") == std::string::npos);
  CHECK(has(kernel_command_line({}), "8250.nr_uarts=0"));
}

TEST_CASE("every guest ends its machine when its kernel dies, skips self-tests and keeps ACPI") {
  const std::string line = kernel_command_line({.serial_console = true, .emulated_cpu = true, .tsc_khz = 1'000'000});
  CHECK(has(line, "panic=-1"));
  CHECK(has(line, "reboot=t"));
  CHECK(has(line, "cryptomgr.notests"));
  CHECK(line.find("acpi=off") == std::string::npos);
  CHECK(line.size() < 2048);  // COMMAND_LINE_SIZE of x86
}
