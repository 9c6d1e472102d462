#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The performance suite of a build: counts and same-run ratios, compared with gates.toml. Prints one table.

    test/perf/run.py [BUILD_DIR]      exit status 0: all gates hold; 1: not; 77: something it needs is missing

Under -icount shift=0,sleep=off the guest's monotonic clock counts instructions, so a hello at N ns is N instructions.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BOOT_LIMIT = 180  # seconds of waiting for one counted boot
MEMORY_MIB, DISK_GIB = 512, 10


class Missing(Exception):
    """Something that the measurement needs is not on this host."""


def lines_of(text: str) -> dict[str, int]:
    return {name: int(value) for name, value in re.findall(r"^(\w+) (\d+)$", text, re.M)}


@contextlib.contextmanager
def engine_guest(build: Path, work: Path):
    """A counted guest created by the engine: (its hello in ns, the process id of its QEMU)."""
    state = work / "state"
    driver = subprocess.Popen(
        [build / "test/perf/driver", state, "--backend", "linux-qemu", "--cpu", "1", "--memory", str(MEMORY_MIB),
         "--execs", "0", "--hold"],
        env={**os.environ, "SANDFORGE_QEMU_ICOUNT": "1"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        seen = ""
        while "done" not in seen:
            line = driver.stdout.readline()
            if not line:
                raise RuntimeError("the driver could not create a sandbox")
            seen += line
        yield lines_of(seen)["hello_ns"], qemu_of(driver.pid)
    finally:
        driver.stdin.close()
        driver.wait(30)


def qemu_of(parent: int) -> int:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            status = (entry / "status").read_text()
            if f"\nPPid:\t{parent}\n" in status and b"qemu-system" in (entry / "cmdline").read_bytes():
                return int(entry.name)
    raise RuntimeError("the sandbox has no QEMU")


def copy_inputs(pid: int, work: Path) -> dict[str, str]:
    """Kernel, initrd, root image and command line of a running QEMU."""
    process = Path(f"/proc/{pid}")
    args = (process / "cmdline").read_bytes().decode().split("\0")
    inputs = {"append": args[args.index("-append") + 1]}
    known = set()
    for option in ("kernel", "initrd"):
        fd = args[args.index(f"-{option}") + 1].rsplit("/", 1)[1]
        known.add(os.readlink(process / "fd" / fd))
        inputs[option] = str(work / option)
        shutil.copyfile(process / "fd" / fd, inputs[option])
    for fd in (process / "fd").iterdir():  # the one other regular file that is open read-only
        target = os.readlink(fd)
        flags = int(re.search(r"^flags:\s*(\d+)", (process / "fdinfo" / fd.name).read_text(), re.M)[1], 8)
        if target not in known and flags & os.O_ACCMODE == os.O_RDONLY and os.path.isfile(target):
            inputs["root"] = target
    return inputs


def bare_hello(inputs: dict[str, str], work: Path) -> int:
    """The same boot by a bare QEMU: the hello in ns. The host's part of the stream is this function."""
    address = str(work / "agent")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(1)
    fd = listener.fileno()
    command = [
        "qemu-system-x86_64", "-M", "microvm", "-accel", "tcg,thread=single", "-cpu", "max", "-icount",
        "shift=0,sleep=off", "-smp", "1", "-m", str(MEMORY_MIB), "-nodefaults", "-no-reboot", "-display", "none",
        "-serial", "null", "-kernel", inputs["kernel"], "-initrd", inputs["initrd"], "-append", inputs["append"],
        "-device", "virtio-serial-device", "-chardev", f"socket,id=agent,fd={fd},server=on,wait=off",
        "-device", "virtserialport,chardev=agent,name=org.sandforge.agent.0",
        "-drive", f"if=none,id=root,format=raw,readonly=on,file={inputs['root']}",
        "-device", "virtio-blk-device,drive=root,serial=root,werror=report,rerror=report",
        "-drive", f"if=none,id=disk,format=raw,cache=unsafe,file={work / 'bare-disk'}",
        "-device", "virtio-blk-device,drive=disk,serial=disk,werror=report,rerror=report",
    ]
    qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[fd])
    listener.close()
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(BOOT_LIMIT)
            client.connect(address)
            frame = b""
            while len(frame) < 12 + 26:
                part = client.recv(4096)
                if not part:
                    raise RuntimeError("bare QEMU: the agent hung up before its hello")
                frame += part
        # Header: u32 length, u8 type, 7 more; Hello: u32 magic, u16 version, u32 features, u64 nonce, u64 monotonic ns.
        kind, magic, monotonic_ns = frame[4], *struct.unpack_from("<I14xQ", frame, 12)
        if kind != 1 or magic != 0x31574653:
            raise RuntimeError("bare QEMU: that was no hello")
        return monotonic_ns
    finally:
        qemu.kill()
        qemu.wait()


def host_calls(build: Path, work: Path) -> dict[str, dict[str, int]]:
    """System calls of the engine's process by phase (create, exec: the second of two, destroy) and name."""
    trace = work / "trace"
    subprocess.run(
        ["strace", "-f", "-b", "execve", "-qq", "-o", trace, build / "test/perf/driver", work / "traced", "--backend",
         "linux-qemu", "--cpu", "1", "--memory", str(MEMORY_MIB), "--execs", "2"],
        check=True, stdout=subprocess.DEVNULL, timeout=BOOT_LIMIT)
    phases: dict[str, dict[str, int]] = {}
    current: dict[str, int] | None = None
    for line in trace.read_text(errors="replace").splitlines():
        if found := re.search(r'write\(-1, "@(\w+)', line):
            current = None if found[1] == "end" else phases.setdefault(found[1], {})
            if current is not None:
                current.clear()  # a later phase of a name replaces the earlier one: the warm exec counts
        elif current is not None and (found := re.match(r"\d+\s+(\w+)\(", line)):
            current[found[1]] = current.get(found[1], 0) + 1
    return phases


def main() -> int:
    build = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build").resolve()
    gates = tomllib.loads((HERE / "gates.toml").read_text())
    for tool in ("qemu-system-x86_64", "strace"):
        if not shutil.which(tool):
            raise Missing(f"{tool} is not installed")
    agent = build / "libsandforge/agent/sandforge-agent"
    for file in (agent, build / "test/perf/driver"):
        if not file.exists():
            raise Missing(f"{file} was not built")

    rows: list[tuple[str, str, str, bool]] = []
    with tempfile.TemporaryDirectory(prefix="sandforge-perf-") as name:
        work = Path(name)
        subprocess.run([build / "test/perf/make_disk", work / "bare-disk", str(DISK_GIB)], check=True)
        with engine_guest(build, work) as (engine_ns, pid):
            inputs = copy_inputs(pid, work)
            bare_ns = bare_hello(inputs, work)
        ratio = engine_ns / bare_ns
        rows.append(("boot to hello, engine (ki)", f"{engine_ns / 1000:.0f}", "", True))
        rows.append(("boot to hello, bare QEMU (ki)", f"{bare_ns / 1000:.0f}", "", True))
        limit = gates["boot"]["ratio_max"]
        rows.append(("engine : bare QEMU", f"{ratio:.3f}", f"<= {limit}", ratio <= limit))
        phases = host_calls(build, work)
    for phase in ("create", "exec", "destroy"):
        count = sum(phases[phase].values())
        limit = gates["host_calls"].get(f"{phase}_max")
        most = ", ".join(f"{n} {c}" for n, c in sorted(phases[phase].items(), key=lambda item: -item[1])[:6])
        rows.append((f"host calls, {phase} ({most})", str(count), f"<= {limit}" if limit else "",
                     limit is None or count <= limit))
    size = agent.stat().st_size
    limit = gates["agent"]["binary_bytes_max"]
    rows.append(("agent binary (bytes)", str(size), f"< {limit}", size < limit))

    width = max(len(row[0]) for row in rows)
    for what, value, gate, held in rows:
        print(f"{what:<{width}}  {value:>12}  {gate:>12}  {'' if not gate else 'ok' if held else 'FAILED'}")
    gated = [row for row in rows if row[2]]
    failed = sum(not row[3] for row in gated)
    print(f"{len(gated) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Missing as missing:
        print(missing)
        sys.exit(77)
    except (RuntimeError, subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        print(error)
        print("0 passed, 1 failed")
        sys.exit(1)
