// SPDX-License-Identifier: Apache-2.0
// QEMU's argument vector: what a guest has and what it must not have.
#include "backend/qemu/arguments.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

using namespace sandforge::backend;

namespace {

// The value that follows the only `option`; "" when there is not exactly one.
std::string value_of(const std::vector<std::string>& args, const std::string& option) {
  if (std::count(args.begin(), args.end(), option) != 1) return {};
  const auto at = std::find(args.begin(), args.end(), option);
  return at + 1 == args.end() ? std::string{} : *(at + 1);
}
bool has(const std::vector<std::string>& args, const std::string& option) {
  return std::find(args.begin(), args.end(), option) != args.end();
}
bool mentions(const std::vector<std::string>& args, const std::string& text) {
  return std::any_of(args.begin(), args.end(), [&](const auto& a) { return a.find(text) != std::string::npos; });
}

const QemuMachine kMachine{.cpus = 3, .memory_mib = 777, .kernel_command_line = "quiet panic=-1"};

}  // namespace

TEST_CASE("a guest has the CPUs, memory and kernel command line of its plan") {
  const auto args = qemu_arguments(kMachine);
  CHECK(value_of(args, "-smp") == "cpus=3");
  CHECK(value_of(args, "-m") == "777M");
  CHECK(value_of(args, "-append") == "quiet panic=-1");
}

TEST_CASE("a guest has no network, no default devices, no display and no monitor") {
  const auto args = qemu_arguments(kMachine);
  CHECK(value_of(args, "-nic") == "none");
  CHECK(value_of(args, "-display") == "none");
  CHECK(value_of(args, "-monitor") == "none");
  CHECK(has(args, "-nodefaults"));
  CHECK(has(args, "-no-user-config"));
  CHECK_FALSE(has(args, "-netdev"));
  CHECK_FALSE(has(args, "-qmp"));
  CHECK_FALSE(has(args, "-vnc"));
  CHECK_FALSE(mentions(args, "virtio-net"));
  CHECK_FALSE(mentions(args, "9p"));
}

TEST_CASE("QEMU's own system call filter is on, and denies all that it can deny") {
  CHECK(value_of(qemu_arguments(kMachine), "-sandbox") ==
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
}

TEST_CASE("the machine keeps ACPI, by which a stock kernel finds its devices, and ends at a reset") {
  const auto args = qemu_arguments(kMachine);
  CHECK(value_of(args, "-M").starts_with("microvm,acpi=on,"));
  CHECK(has(args, "-no-reboot"));
}

TEST_CASE("every file comes as a descriptor and both disks state their format") {
  const auto args = qemu_arguments(kMachine, {.agent = 13, .kernel = 14, .initrd = 15, .root = 16, .disk = 17});
  CHECK(value_of(args, "-kernel") == "/proc/self/fd/14");
  CHECK(value_of(args, "-initrd") == "/proc/self/fd/15");
  CHECK(mentions(args, "socket,id=agent,fd=13,server=on,wait=off"));
  CHECK(mentions(args, "fd=16,set=1"));
  CHECK(mentions(args, "fd=17,set=2"));
  CHECK(mentions(args, "driver=raw,node-name=root,read-only=on"));
  CHECK(mentions(args, "driver=raw,node-name=disk,"));
  CHECK(mentions(args, "name=org.sandforge.agent.0"));
}

TEST_CASE("without KVM the CPU is emulated, with it the guest gets the host's CPU but no nesting") {
  CHECK(value_of(qemu_arguments(kMachine), "-accel").starts_with("tcg,thread=multi"));
  QemuMachine machine = kMachine;
  machine.kvm = true;
  const auto args = qemu_arguments(machine);
  CHECK(value_of(args, "-accel") == "kvm");
  CHECK(value_of(args, "-cpu") == "host,vmx=off,svm=off");
}

TEST_CASE("instructions are counted only for measurements") {
  CHECK_FALSE(has(qemu_arguments(kMachine), "-icount"));
  QemuMachine machine = kMachine;
  machine.counted = true;
  CHECK(value_of(qemu_arguments(machine), "-icount") == "shift=0,sleep=off");
}

TEST_CASE("a guest has a port to its file server when there is one, and none otherwise") {
  CHECK_FALSE(mentions(qemu_arguments(kMachine), "org.sandforge.files.0"));
  QemuMachine machine = kMachine;
  machine.file_server = true;
  const auto args = qemu_arguments(machine);
  CHECK(has(args, "socket,id=files,fd=8"));
  CHECK(has(args, "virtserialport,chardev=files,name=org.sandforge.files.0"));
  CHECK(has(args, "virtio-serial-device,max_ports=3"));
}
