# SPDX-License-Identifier: Apache-2.0
"""Starts sandforge-vmm by its documented descriptors and configuration message, as its backend does."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import subprocess
import tempfile
import threading
import tomllib
from collections.abc import Sequence
from pathlib import Path

COMMAND_LINE = ("panic=-1 reboot=t console=ttyS0 cryptomgr.notests rcupdate.rcu_expedited=1 lsm=landlock "
                "random.trust_cpu=on pci=off i8042.noprobe swiotlb=noforce nowatchdog tsc=reliable percpu_alloc=page")


def config(cpus: int, memory_mib: int, command_line: str, serial: bool = True, disk_layers: int = 0) -> bytes:
    """One Config packet; libsandforge/vmm/monitor/config.hpp has the layout."""
    text = command_line.encode()
    return struct.pack("<IHIQBBI", 0x314D5653, 2, cpus, memory_mib, int(serial), disk_layers, len(text)) + text


def image_paths(directory: Path, name: str = "default") -> dict[str, Path]:
    manifest = tomllib.loads((directory / "names" / f"{name}.toml").read_text())
    return {part: directory / "blobs/sha256" / manifest[part]["digest"].removeprefix("sha256:")
            for part in ("kernel", "modules", "root")}


def descriptors(log: int, control: int, agent: int, files: Sequence[str | Path], kvm: str = "/dev/kvm",
                layers: Sequence[tuple[str, str]] = ()) -> tuple[dict[int, int], list[int]]:
    """What a monitor is started with, by the numbers of libsandforge/vmm/monitor/config.hpp, and those of them that were
    opened here. `files` are kernel, initrd, root and disk; `layers` lie below the disk, from the top down: the map of
    the layer above, and the layer's file."""
    flags = (os.O_RDONLY, os.O_RDONLY, os.O_RDONLY, os.O_RDWR)
    opened = [os.open(kvm, os.O_RDWR), *map(os.open, files, flags)]
    for index, (above, file) in enumerate(layers):
        opened += [os.open(above, os.O_RDONLY if index else os.O_RDWR), os.open(file, os.O_RDONLY)]
    numbers = [*range(4, 9), *range(12, 12 + 2 * len(layers))]
    return {1: log, 2: log, 3: control, 9: agent, **dict(zip(numbers, opened))}, opened


class Monitor:
    """A running sandforge-vmm. Its log is collected by a thread; with `read_log` false, only after its end."""

    def __init__(self, program: str, packet: bytes, kernel: str, initrd: str, root: str, disk: str,
                 kvm: str = "/dev/kvm", on_line=None, layers: Sequence[tuple[str, str]] = (),
                 read_log: bool = True) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="sandforge-kvm-")
        agent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        agent.bind(self.folder.name + "/agent.sock")
        agent.listen(4)
        ours, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.send(packet)
        log_read, log_write = os.pipe()
        if not read_log:
            os.set_blocking(log_write, False)  # as the backend does; and soon full
            fcntl.fcntl(log_write, fcntl.F_SETPIPE_SZ, 4096)
        given, opened = descriptors(log_write, control.fileno(), agent.fileno(), (kernel, initrd, root, disk), kvm,
                                    layers)

        def place() -> None:
            parked = {target: os.dup(source) for target, source in given.items()}
            high = {target: os.dup2(fd, 100 + target) for target, fd in parked.items()}
            for target, fd in high.items():
                os.dup2(fd, target)
            for fd in set(range(10, 256)) - set(given):
                with contextlib.suppress(OSError):
                    os.close(fd)

        self.process = subprocess.Popen([program], stdin=subprocess.DEVNULL, env={}, cwd="/", close_fds=False,
                                        preexec_fn=place)
        self.control = ours
        for fd in [log_write, *opened]:
            os.close(fd)
        control.close()
        agent.close()
        self.lines: list[str] = []
        self._on_line = on_line
        self._reader = threading.Thread(target=self._read, args=(log_read,), daemon=True)
        if read_log:
            self._reader.start()

    @property
    def agent_path(self) -> str:
        return self.folder.name + "/agent.sock"

    def _read(self, fd: int) -> None:
        with os.fdopen(fd, "rb") as stream:
            for raw in stream:
                line = raw.decode(errors="replace").rstrip()
                self.lines.append(line)
                if self._on_line:
                    self._on_line(line)

    def wait(self, timeout: float) -> int:
        """The exit status; the log is complete afterwards."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        if not self._reader.ident:  # read_log=False: what the pipe has kept
            self._reader.start()
        self._reader.join(10)
        self.control.close()
        self.folder.cleanup()
        return status


INIT = """#!/bin/busybox sh
b=/bin/busybox
$b mkdir -p /proc /sys /dev
$b mount -t proc proc /proc; $b mount -t sysfs sysfs /sys; $b mount -t devtmpfs devtmpfs /dev
"""


def make_initrd(target: Path, script: str, modules: Path | None = None) -> None:
    """An initrd of busybox and a script that runs as PID 1; `modules` is a cpio archive that goes before it."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("bin", "dev", "proc", "sys", "mnt"):
            (root / name).mkdir()
        (root / "bin/busybox").write_bytes(Path("/bin/busybox").read_bytes())
        (root / "bin/busybox").chmod(0o755)
        (root / "init").write_text(INIT + script)
        (root / "init").chmod(0o755)
        archive = subprocess.run("find . | cpio --quiet -o -H newc", shell=True, cwd=root, check=True,
                                 capture_output=True).stdout
    target.write_bytes((modules.read_bytes() if modules else b"") + archive)
