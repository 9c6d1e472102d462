// SPDX-License-Identifier: Apache-2.0
// linux-qemu on hosts that lack something, and how the end of a guest is told. Needs no QEMU: programs are scripts.
#include "backend/qemu/backend.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "backend/kvm_state.hpp"
#include "backend/process_worker.hpp"
#include "backend/qemu/tsc.hpp"

using namespace sandforge;
namespace fs = std::filesystem;

namespace {

struct Directory {
  explicit Directory(const std::string& below = {}) {
    char name[] = "/tmp/sandforge-qemu-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    root = name;
    path = root / below;
    fs::create_directories(path);
    // The stand-ins for QEMU are run as another user when this one is root.
    for (fs::path at = path; at != "/tmp"; at = at.parent_path()) REQUIRE(::chmod(at.c_str(), 0755) == 0);
  }
  ~Directory() { fs::remove_all(root); }
  fs::path root, path;
};

// A program of QEMU's name that prints `text` and exits with `status`.
void script(const fs::path& directory, const std::string& text, int status = 0, mode_t mode = 0755) {
  const fs::path file = directory / "qemu-system-x86_64";
  std::ofstream(file) << "#!/bin/sh\necho '" << text << "'\nexit " << status << "\n";
  REQUIRE(::chmod(file.c_str(), mode) == 0);
}

backend::Probe probe_in(const fs::path& directory, const std::string& kvm = "/nonexistent/kvm") {
  return backend::make_qemu_backend({.search_path = directory, .kvm_device = kvm})->probe();
}

// Kernel, initrd, root and disk as empty files.
backend::LaunchPlan plan_in(const fs::path& directory) {
  backend::LaunchPlan plan;
  plan.id = "test";
  plan.directory = directory;
  plan.cpus = 1;
  plan.memory_mib = 128;
  for (auto [file, name] : {std::pair{&plan.kernel, "kernel"}, std::pair{&plan.initrd, "initrd"},
                            std::pair{&plan.root_image, "root"}, std::pair{&plan.disk, "disk"}}) {
    *file = directory / name;
    std::ofstream(*file) << "";
  }
  return plan;
}

}  // namespace

TEST_CASE("a host without QEMU is told which package to install") {
  Directory directory;
  const backend::Probe probe = probe_in(directory.path);
  CHECK_FALSE(probe.available);
  CHECK(probe.reason.find("not found") != std::string::npos);
  CHECK(probe.remedy == "apt-get install qemu-system-x86");
  auto worker = backend::make_qemu_backend({.search_path = directory.path})->launch(plan_in(directory.path));
  REQUIRE_FALSE(worker);
  CHECK(worker.error().code == base::Code::Unsupported);
}

TEST_CASE("a QEMU that may not be executed counts as missing") {
  Directory directory;
  script(directory.path, "QEMU emulator version 7.2.22", 0, 0644);
  CHECK_FALSE(probe_in(directory.path).available);
}

TEST_CASE("a program of that name that is no QEMU is not available, with a reason") {
  Directory directory;
  script(directory.path, "hello", 1);
  const backend::Probe probe = probe_in(directory.path);
  CHECK_FALSE(probe.available);
  CHECK(probe.reason.find("--version") != std::string::npos);
}

TEST_CASE("QEMU without KVM is a software VM and says its version") {
  Directory directory;
  script(directory.path, "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg)");
  const backend::Probe probe = probe_in(directory.path);
  CHECK(probe.available);
  CHECK(probe.isolation == backend::Isolation::SoftwareVm);
  CHECK(probe.detail.find("qemu 7.2.22, emulated CPU") == 0);
}

TEST_CASE("a file that is not KVM never makes a hardware VM") {
  Directory directory;
  script(directory.path, "QEMU emulator version 7.2.22");
  std::ofstream(directory.path / "kvm") << "";
  CHECK(backend::kvm_state((directory.path / "kvm").c_str()) == backend::KvmState::Broken);
  CHECK(backend::kvm_state("/nonexistent/kvm") == backend::KvmState::Missing);
  CHECK(probe_in(directory.path, directory.path / "kvm").isolation == backend::Isolation::SoftwareVm);
}

TEST_CASE("a missing kernel is an error that names it, and nothing is started") {
  Directory directory;
  script(directory.path, "QEMU emulator version 7.2.22");
  auto plan = plan_in(directory.path);
  fs::remove(plan.kernel);
  auto worker = backend::make_qemu_backend({.search_path = directory.path})->launch(plan);
  REQUIRE_FALSE(worker);
  CHECK(worker.error().code == base::Code::NotFound);
  CHECK(worker.error().message.find("kernel") != std::string::npos);
}

TEST_CASE("the agent's socket can be connected to at once, however long the path of the sandbox's directory is") {
  Directory directory(std::string(90, 'a') + "/" + std::string(90, 'b'));
  // One that stays: the socket goes with the last process that listens.
  script(directory.path, "QEMU emulator version 7.2.22'; test \"$1\" = --version || exec sleep 60 #'");
  auto worker = backend::make_qemu_backend({.search_path = directory.path})->launch(plan_in(directory.path));
  REQUIRE(worker);
  CHECK((*worker)->connect());
}

TEST_CASE("an end is told with the status and the last words, again and again") {
  Directory directory;
  script(directory.path, "cannot set up guest memory", 1);
  auto worker = backend::make_qemu_backend({.search_path = directory.path})->launch(plan_in(directory.path));
  REQUIRE(worker);
  pollfd ended{(*worker)->exited_fd(), POLLIN, 0};
  REQUIRE(::poll(&ended, 1, 10'000) == 1);
  CHECK((*worker)->describe_exit() == "qemu exited with status 1: cannot set up guest memory");
  CHECK((*worker)->describe_exit() == "qemu exited with status 1: cannot set up guest memory");
  CHECK(::poll(&ended, 1, 0) == 1);
  (*worker)->kill();
}

TEST_CASE("kill ends a guest that would not end, and exited_fd tells") {
  Directory directory;
  std::ofstream(directory.path / "qemu-system-x86_64") << "#!/bin/sh\nwhile :; do read x < /dev/zero; done\n";
  REQUIRE(::chmod((directory.path / "qemu-system-x86_64").c_str(), 0755) == 0);
  auto worker = backend::make_qemu_backend({.search_path = directory.path})->launch(plan_in(directory.path));
  REQUIRE(worker);
  CHECK((*worker)->describe_exit() == "qemu is running");
  (*worker)->kill();
  pollfd ended{(*worker)->exited_fd(), POLLIN, 0};
  REQUIRE(::poll(&ended, 1, 10'000) == 1);
  CHECK((*worker)->describe_exit() == "qemu killed by signal 9 (Killed)");
}

TEST_CASE("of a guest's log the panic is shown, else its last lines, without control characters") {
  using backend::summarize_log;
  CHECK(summarize_log("a\r\n[ 1.0] Kernel panic - not syncing: no init\n trace\n") ==
        "Kernel panic - not syncing: no init");
  CHECK(summarize_log("1\n2\n3\n4\n5\n6\n7\n8\n") == "3 | 4 | 5 | 6 | 7 | 8");
  CHECK(summarize_log("\x1b[31mred\x80") == "?[31mred?");
  CHECK(summarize_log("").empty());
  CHECK(summarize_log(std::string(100'000, 'x')).size() <= 4096);
}

TEST_CASE("two measurements of the TSC agree within a thousandth") {
  const backend::TscMeter one;
  const auto first = static_cast<double>(one.khz());
  const auto second = static_cast<double>(backend::TscMeter().khz());
  CHECK(first > 100'000);
  CHECK(second / first == doctest::Approx(1.0).epsilon(0.001));
}
