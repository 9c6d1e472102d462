# SPDX-License-Identifier: Apache-2.0
"""G4 and G9: counted boots of one kernel, initrd and command line by several monitors, in the lab's nested guest."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import events
import launch

MEMORY_MIB = 256
MARKER = f"kvm_cpuid: func {events.MARKER_LEAF:x} "


@dataclass
class Inputs:
    """Everything lies in a tmpfs."""

    folder: Path  # programs
    kernel: Path
    initrd: Path
    root: Path
    disk: Path
    command_line: str


@dataclass
class Boot:
    """From the spawn of the monitor to the first action of the guest's init."""

    ki: int = 0
    own_ki: int = 0  # to the first guest instruction
    user_exits: Counter = field(default_factory=Counter)
    exits: int = 0
    faults: int = 0
    calls: Counter = field(default_factory=Counter)
    private_kib: int = 0


class Started:
    """A monitor begun by test/perf/start, with what it must keep open."""

    def __init__(self, pid: int, kept: list) -> None:
        self.pid, self.kept = pid, kept

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        for item in self.kept:
            item.close()
        # Its memory goes back after its end, in the background; the next one is not to pay for that. Idle time passes
        # at once under -icount.
        while Path(f"/proc/{self.pid}").exists():
            time.sleep(0.05)
        time.sleep(2)


def start(inputs: Inputs, given: dict[int, int], command: list[str]) -> int:
    """Begins a program; its libraries and their loader lie beside it in "libs", where there is such a folder."""
    libraries = Path(command[0]).parent / "libs"
    if libraries.exists():
        command = [str(libraries / "ld-linux-x86-64.so.2"), "--inhibit-cache", "--library-path", str(libraries), *command]
    pairs = [f"{target}={fd}" for target, fd in given.items()]
    done = subprocess.run([inputs.folder / "start", events.TRACING / "trace_marker", *pairs, "--", *command],
                          pass_fds=list(given.values()), check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout)


def sandforge(inputs: Inputs) -> Started:
    """As its backend starts it."""
    packet = launch.config(1, MEMORY_MIB, inputs.command_line, serial=False)
    folder = tempfile.TemporaryDirectory()
    agent = socket.socket(socket.AF_UNIX)
    agent.bind(folder.name + "/agent")
    agent.listen(4)
    ours, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.send(packet)
    log = (inputs.folder / "monitor.log").open("wb")
    files = (inputs.kernel, inputs.initrd, inputs.root, inputs.disk)
    given, opened = launch.descriptors(log.fileno(), control.fileno(), agent.fileno(), files)
    pid = start(inputs, given, [str(inputs.folder / "sandforge/sandforge-vmm")])
    for fd in opened:
        os.close(fd)
    control.close()
    return Started(pid, [ours, agent, log])


def qemu(inputs: Inputs) -> Started:
    """The same devices: two disks and a channel for an agent. Without PIC and PIT: the kernel, told of hardware-reduced
    ACPI, leaves the PIC alone, and a timer tick that comes through it ends the boot as a divide error."""
    log = (inputs.folder / "qemu.log").open("wb")
    program = inputs.folder / "qemu"
    command = [str(program / "qemu-system-x86_64"), "-L", str(program), "-M", "microvm,pic=off,pit=off,rtc=off",
               "-accel", "kvm", "-cpu", "host", "-smp", "1", "-m", str(MEMORY_MIB), "-nodefaults", "-no-user-config",
               "-no-reboot", "-display", "none", "-kernel", str(inputs.kernel), "-initrd", str(inputs.initrd),
               "-append", inputs.command_line,
               "-device", "virtio-serial-device",
               "-drive", f"if=none,id=root,format=raw,readonly=on,file={inputs.root}",
               "-device", "virtio-blk-device,drive=root",
               "-drive", f"if=none,id=disk,format=raw,file={inputs.disk}", "-device", "virtio-blk-device,drive=disk"]
    return Started(start(inputs, {1: log.fileno(), 2: log.fileno()}, command), [log])


def firecracker(inputs: Inputs) -> Started:
    """SANDFORGE_FIRECRACKER's binary, by a configuration file; without its API thread."""
    import json

    config = inputs.folder / "firecracker.json"
    config.write_text(json.dumps({
        "boot-source": {"kernel_image_path": str(inputs.kernel), "initrd_path": str(inputs.initrd),
                        "boot_args": inputs.command_line},
        "drives": [{"drive_id": "root", "path_on_host": str(inputs.root), "is_root_device": False, "is_read_only": True},
                   {"drive_id": "disk", "path_on_host": str(inputs.disk), "is_root_device": False,
                    "is_read_only": False}],
        "vsock": {"guest_cid": 3, "uds_path": str(inputs.folder / "firecracker.vsock")},
        "machine-config": {"vcpu_count": 1, "mem_size_mib": MEMORY_MIB}}))
    log = (inputs.folder / "firecracker.log").open("wb")
    command = [str(inputs.folder / "firecracker/firecracker"), "--no-api", "--config-file", str(config)]
    return Started(start(inputs, {1: log.fileno(), 2: log.fileno()}, command), [log])


def boot(begin, inputs: Inputs, calls: bool) -> Boot:
    """One boot with next to no tracing; `begin` is one of the functions above. KVM's own counters are read a moment
    after the first action of init, which then waits: the guest is idle. `calls`: count system calls too."""
    result = Boot()
    counts = {"kvm/kvm_userspace_exit": "reason"}
    if calls:
        counts["raw_syscalls/sys_enter"] = "common_pid,id"
    watch = events.Trace({"kvm/kvm_cpuid": f"function == {events.MARKER_LEAF}", "kvm/kvm_entry": ""}, counts)
    watch.start()
    monitor = begin(inputs)
    try:
        watch.wait_for(MARKER, monitor.pid)
        result.user_exits = Counter({events.EXIT_NAMES.get(kind, str(kind)): count for kind, count
                                     in watch.histogram("kvm/kvm_userspace_exit").items()})
        values = events.kvm_counters(monitor.pid)
        result.exits, result.faults = values["exits"], values["pf_taken"]
        if calls:
            threads = {int(name) for name in os.listdir(f"/proc/{monitor.pid}/task")} | {monitor.pid}
            for (thread, number), count in watch.histogram("raw_syscalls/sys_enter").items():
                if thread in threads:
                    result.calls[number] += count
        result.private_kib = events.private_kib(monitor.pid, MEMORY_MIB << 20)
    finally:
        watch.stop()
        monitor.end()
    spawned = next(events.time_us(line) for line in watch.lines if "tracing_mark_write: spawn" in line)
    entered = next(events.time_us(line) for line in watch.lines if "kvm_entry" in line)
    result.own_ki = entered - spawned
    result.ki = events.time_us(next(line for line in watch.lines if MARKER in line)) - spawned
    return result
