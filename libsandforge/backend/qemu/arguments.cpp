// SPDX-License-Identifier: Apache-2.0
#include "backend/qemu/arguments.hpp"

#include "wire/file_server.hpp"

namespace sandforge::backend {
namespace {

std::string number(std::uint64_t value) { return std::to_string(value); }
std::string fd_path(int fd) { return "/proc/self/fd/" + number(static_cast<std::uint64_t>(fd)); }

void add_accelerator(std::vector<std::string>& args, const QemuMachine& machine) {
  const auto add = [&args](const char* option, std::string value) {
    args.emplace_back(option);
    args.push_back(std::move(value));
  };
  if (machine.kvm) {
    add("-accel", "kvm");
    // The guest gets the host's CPU, but no virtualisation of its own: nesting is the widest door KVM has.
    add("-cpu", "host,vmx=off,svm=off");
    return;
  }
  // tb-size: MiB of translated code kept, of which only what is used takes memory. The default of 1024 would let one
  // guest's QEMU grow by a gigabyte beyond the guest's memory.
  add("-accel", machine.counted ? "tcg,thread=single,tb-size=256" : "tcg,thread=multi,tb-size=256");
  // la57: a fifth level of page tables would lengthen every walk of the emulated MMU.
  add("-cpu", "max,svm=off,la57=off");
  if (machine.counted) add("-icount", "shift=0,sleep=off");
}

// A disk from an inherited descriptor. The format is stated, never sniffed: a guest can write any header.
void add_disk(std::vector<std::string>& args, const std::string& name, int fd, const std::string& options) {
  const std::string set = name == "root" ? "1" : "2";
  args.insert(args.end(), {"-add-fd", "fd=" + number(static_cast<std::uint64_t>(fd)) + ",set=" + set});
  // No lock: the descriptor is shared by all guests of an image, and the engine alone hands out private disks.
  // aio=threads: io_uring is not in QEMU's system call filter of every distribution.
  args.insert(args.end(), {"-blockdev", "driver=raw,node-name=" + name + "," + options +
                                            ",file.driver=file,file.filename=/dev/fdset/" + set +
                                            ",file.locking=off,file.aio=threads"});
  // werror: the default would stop the whole guest, without a word, when the host's disk is full; the guest gets an I/O
  // error instead, and its commands still end.
  args.insert(args.end(),
              {"-device", "virtio-blk-device,drive=" + name + ",serial=" + name + ",werror=report,rerror=report"});
}

}  // namespace

std::vector<std::string> qemu_arguments(const QemuMachine& machine, const QemuDescriptors& fds) {
  std::vector<std::string> args;
  const auto add = [&args](const char* option, std::string value) {
    args.emplace_back(option);
    args.push_back(std::move(value));
  };
  add("-name", "sandforge");
  // acpi: describes the virtio-mmio devices; stock kernels take them from nowhere else. rtc: a guest without one waits
  // 2 s for it at boot. No PIT, no PIC: everything is on the APICs, and the kernel knows its TSC. No option ROMs: the
  // kernel is entered by PVH, straight from the firmware. isa-serial: the log of a crash; silent otherwise.
  add("-M",
      "microvm,acpi=on,rtc=on,pit=off,pic=off,isa-serial=on,pcie=off,usb=off,graphics=off,x-option-roms=off,"
      "auto-kernel-cmdline=off,mem-merge=off,dump-guest-core=off");
  add_accelerator(args, machine);
  add("-smp", "cpus=" + number(machine.cpus));
  add("-m", number(machine.memory_mib) + "M");

  // Nothing that was not asked for: no devices, no network, no configuration files, no display, no monitor.
  args.insert(args.end(), {"-nodefaults", "-no-user-config", "-nic", "none", "-display", "none", "-monitor", "none"});
  // A guest that resets ends, like one that powers off.
  args.emplace_back("-no-reboot");
  // QEMU's own system call filter: no exec or fork, no change of ids, priorities or affinity, no obsolete calls.
  add("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");

  add("-kernel", fd_path(fds.kernel));
  add("-initrd", fd_path(fds.initrd));
  add("-append", machine.kernel_command_line);

  // The serial port goes to stdout, a pipe that nobody reads while the guest lives: see Worker.
  add("-chardev", "stdio,id=log,signal=off");
  add("-serial", "chardev:log");

  // virtio 1.0 registers; QEMU's default for virtio-mmio is still the draft.
  add("-global", "virtio-mmio.force-legacy=false");
  add("-chardev", "socket,id=agent,fd=" + number(static_cast<std::uint64_t>(fds.agent)) + ",server=on,wait=off");
  add("-device", std::string("virtio-serial-device,max_ports=") + (machine.file_server ? "3" : "2"));
  add("-device", std::string("virtserialport,chardev=agent,name=") + kAgentPort);
  if (machine.file_server) {
    add("-chardev", "socket,id=files,fd=" + number(static_cast<std::uint64_t>(fds.file_server)));
    add("-device", std::string("virtserialport,chardev=files,name=") + wire::kFileServerPort);
  }

  // Read-only here, as a property of the host; the descriptor is read-only too.
  add_disk(args, "root", fds.root, "read-only=on,auto-read-only=off");
  // no-flush: the disk dies with its guest and a crash of the host kills both, so making it durable for every fsync in
  // the guest would be for nothing. discard: what the guest frees goes back to the host.
  add_disk(args, "disk", fds.disk, "cache.no-flush=on,discard=unmap");
  return args;
}

}  // namespace sandforge::backend
