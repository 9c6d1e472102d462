#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The stop-watch of linux-kvm: boots (G4), exec (G7), streams (G8) and memory (G9) by counted instructions and exits.

    test/perf/kvm.py [BUILD_DIR]      exit status 0: all gates hold; 1: not; 77: something it needs is missing

Runs in the lab's nested guest under --icount, on any machine: its monotonic clock counts instructions there, 1 ns each.
The same kernel, initrd and command line are booted by sandforge-vmm, by QEMU's microvm, and by the Firecracker that
SANDFORGE_FIRECRACKER names, if any: the kernel of image "default", and that of SANDFORGE_BUILT_IMAGE_DIR, a store whose
default image was made with --kernel built, if that is set. A goal of gates.toml that is not reached is printed as
missed; what fails the suite is its max.
"""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
QEMU_FIRMWARE = ("bios-microvm.bin", "pvh.bin", "linuxboot_dma.bin", "linuxboot.bin", "kvmvapic.bin")
EXECS, STREAM_MIB = 16, 16
BUSY_SECONDS_MAX = 150  # of 10^9 instructions; a run takes about 40
LAB_SECONDS, HOST_SECONDS_MAX = 550, 500  # of this machine's clock
HUNG = 3  # exit status of a run that was ended for that


def module(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


# ---- on this machine ------------------------------------------------------------------------------------------------


def stage_program(folder: Path, program: Path, extra: list[Path] = []) -> None:
    """A program with its libraries and their loader: nothing is to be fetched from a slow file system meanwhile."""
    (folder / "libs").mkdir(parents=True)
    shutil.copy(program, folder)
    for word in subprocess.run(["ldd", program], capture_output=True, text=True).stdout.split():
        if word.startswith("/"):
            shutil.copy(word, folder / "libs")
    for path in extra:
        shutil.copy(path, folder)


def stage(folder: Path, build: Path, images: Path) -> None:
    launch = module(ROOT / "test/kvm/launch.py")
    shutil.copytree(HERE, folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "test/kvm/launch.py", folder / "tests")
    boots = folder / "boots"
    stage_program(boots / "sandforge", build / "libsandforge/vmm/sandforge-vmm")
    qemu = Path(shutil.which("qemu-system-x86_64"))
    places = [Path("/usr/share") / part for part in ("qemu", "seabios")]
    firmware = [place / name for name in QEMU_FIRMWARE for place in places if (place / name).exists()]
    stage_program(boots / "qemu", qemu, firmware)
    if os.environ.get("SANDFORGE_FIRECRACKER"):
        stage_program(boots / "firecracker", Path(os.environ["SANDFORGE_FIRECRACKER"]))
    shutil.copy(build / "test/perf/start", boots)
    # The initrd of the product, but for its init: the agent is there, and as large, under another name.
    root = folder / "initrd-root"
    (root / "dev").mkdir(parents=True)
    shutil.copy(build / "test/perf/marker_init", root / "init")
    shutil.copy(build / "libsandforge/agent/sandforge-agent", root / "agent")
    archive = subprocess.run("find . | cpio --quiet -o -H newc", shell=True, cwd=root, check=True, capture_output=True)
    kinds = {"": images, "-built": built_images()}
    for suffix, directory in kinds.items():
        if directory is None:
            continue
        paths = launch.image_paths(directory)
        shutil.copy(paths["kernel"], boots / f"kernel{suffix}")
        (boots / f"initrd{suffix}").write_bytes(archive.stdout + paths["modules"].read_bytes())
    for name in ("root", "disk"):
        with (boots / name).open("wb") as file:
            file.truncate(16 << 20)
    line = subprocess.run([build / "test/perf/command_line"], check=True, capture_output=True, text=True).stdout
    (boots / "line").write_text(line)
    programs = folder / "programs"
    programs.mkdir()
    for name in ("libsandforge/vmm/sandforge-vmm", "libsandforge/agent/sandforge-agent", "test/perf/stream_driver"):
        shutil.copy(build / name, programs)
    for library in (build / "libsandforge").glob("libsandforge.so.0*"):
        if library.is_file():
            shutil.copy(library, programs / library.name)


def built_images() -> Path | None:
    """A store whose default image has the kernel of our own."""
    directory = Path(os.environ.get("SANDFORGE_BUILT_IMAGE_DIR") or "/nonexistent")
    return directory if (directory / "names/default.toml").exists() else None


def outside(build: Path) -> int:
    run = module(ROOT / "test/kvm/run.py")
    images = run.image_directory()
    if images is None:
        print("no image: run sandforged image build, or set SANDFORGE_IMAGE_DIR")
        return 77
    if not shutil.which("qemu-system-x86_64"):
        print("qemu-system-x86_64 is not installed")
        return 77
    with tempfile.TemporaryDirectory(prefix="sandforge-perf-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        stage(folder, build, images)
        if not run.visible(images.resolve()):
            shutil.copytree(images, folder / "images")
            images = folder / "images"
        job = ["/usr/bin/python3", str(folder / "tests/kvm.py"), "--inside", str(folder), str(images.resolve())]
        return module(ROOT / "test/lab/lab.py").run_suite(job, LAB_SECONDS, folder, icount=True, hung=HUNG)


# ---- in the lab -----------------------------------------------------------------------------------------------------


class Table:
    def __init__(self) -> None:
        self.gates = tomllib.loads((HERE / "gates.toml").read_text())["kvm"]
        self.passed = self.failed = 0

    def show(self, row: str, text: str) -> None:
        print(f"{row:<4} {text}", flush=True)

    def judge(self, row: str, name: str, value: float, unit: str = "") -> None:
        """Against "name_max", which fails the suite, and "name_goal", which is only reported."""
        limit, goal = self.gates[f"{name}_max"], self.gates.get(f"{name}_goal")
        held = value <= limit
        self.passed, self.failed = self.passed + held, self.failed + (not held)
        aim = "" if goal is None else f", goal {goal} {'reached' if value <= goal else 'missed'}"
        self.show(row, f"{name:<32} {value:>10.2f} {unit:<5} max {limit}{aim}: {'ok' if held else 'FAILED'}")


def describe(name: str, boot) -> str:
    kinds = ", ".join(f"{kind} {count}" for kind, count in boot.user_exits.most_common())
    calls = f", {sum(boot.calls.values())} system calls" if boot.calls else ""
    return (f"{name:<28} {boot.ki / 1000:8.1f} Mi, own {boot.own_ki / 1000:6.1f} Mi, "
            f"{sum(boot.user_exits.values())} exits to user space ({kinds}), {boot.exits} exits, "
            f"{boot.faults} for page faults{calls}, {boot.private_kib} KiB private")


def measure_boots(table: Table, folder: Path) -> None:
    import boots

    inputs = boots.Inputs(folder, *(folder / name for name in ("kernel", "initrd", "root", "disk")),
                          (folder / "line").read_text().strip())
    boots.boot(boots.sandforge, inputs, True)  # the first one pays for what all share: caches, KVM's start
    ours = boots.boot(boots.sandforge, inputs, True)
    table.show("G4", describe("sandforge-vmm", ours))
    switch = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    switch.write_text("madvise")
    table.show("G4", describe("sandforge-vmm, huge pages", boots.boot(boots.sandforge, inputs, True)))
    switch.write_text("never")
    table.judge("G4", "boot_mi", ours.ki / 1000, "Mi")
    table.judge("G4", "boot_own_mi", ours.own_ki / 1000, "Mi")
    table.judge("G4", "boot_user_exits", sum(ours.user_exits.values()))
    table.judge("G4", "boot_fault_exits", ours.faults)
    if (folder / "firecracker").exists():
        table.show("G4", describe("firecracker", boots.boot(boots.firecracker, inputs, True)))
    # As above: QEMU looks for files outside its tmpfs too, and the clock runs on while it waits for them.
    boots.boot(boots.qemu, inputs, False)
    peer = boots.boot(boots.qemu, inputs, False)
    table.show("G4", describe("qemu -M microvm -accel kvm", peer))
    table.judge("G4", "boot_ratio_to_qemu", ours.ki / peer.ki)
    if (folder / "kernel-built").exists():
        measure_built(table, boots, dataclasses.replace(inputs, kernel=folder / "kernel-built",
                                                        initrd=folder / "initrd-built"))


def measure_built(table: Table, boots, inputs) -> None:
    boots.boot(boots.sandforge, inputs, True)
    ours = boots.boot(boots.sandforge, inputs, True)
    table.show("G4", describe("built: sandforge-vmm", ours))
    table.judge("G4", "built_boot_mi", ours.ki / 1000, "Mi")
    table.judge("G4", "built_boot_user_exits", sum(ours.user_exits.values()))
    table.judge("G4", "built_boot_fault_exits", ours.faults)
    peer = boots.boot(boots.qemu, inputs, False)
    table.show("G4", describe("built: qemu -M microvm", peer))
    table.judge("G4", "built_boot_ratio_to_qemu", ours.ki / peer.ki)


def measure_streams(table: Table, folder: Path, images: Path) -> None:
    import events
    import streams

    sandbox = streams.Sandbox(folder, images, Path("/tmp/state"))
    sandbox.tell(f"exec {EXECS}")
    cost = sandbox.timed(f"exec {EXECS}", EXECS)
    sandbox.counted(f"exec {EXECS}", EXECS, cost)
    calls = sum(cost.engine_calls.values()) + sum(cost.monitor_calls.values())
    table.show("G7", f"exec of /bin/true: engine {cost.engine_ki:.0f} ki, monitor's loop {cost.loop_ki:.0f} ki, "
               f"{cost.user_exits:.1f} exits to user space and {cost.kicks:.1f} kicks, {cost.exits:.1f} exits of all "
               f"kinds; engine's calls {numbers(cost.engine_calls)}, monitor's {numbers(cost.monitor_calls)}")
    table.judge("G7", "exec_host_ki", cost.engine_ki + cost.loop_ki, "ki")
    table.judge("G7", "exec_exits", cost.user_exits + cost.kicks)
    table.judge("G7", "exec_host_calls", calls)
    table.show("G9", "one sandbox, idle after its first commands")
    table.judge("G9", "idle_private_kib", events.private_kib(sandbox.monitor, streams.MEMORY_MIB << 20), "KiB")
    units = STREAM_MIB * 16  # of 64 KiB
    cost = sandbox.timed(f"stream {STREAM_MIB}", units)
    sandbox.counted(f"stream {STREAM_MIB}", units, cost)
    table.show("G8", f"64 KiB of stdout: engine {cost.engine_ki:.0f} ki, monitor's loop {cost.loop_ki:.0f} ki, "
               f"{cost.user_exits:.2f} exits to user space and {cost.kicks:.2f} kicks, {cost.exits:.2f} exits of all "
               f"kinds; engine's calls {numbers(cost.engine_calls)}, monitor's {numbers(cost.monitor_calls)}; the engine's peak {sandbox.peak_kib()} KiB")
    table.judge("G8", "stream_exits_per_64k", cost.user_exits + cost.kicks)
    table.judge("G8", "stream_copies_per_byte", cost.moved / 65536)
    sandbox.end()


def numbers(calls) -> str:
    return ", ".join(f"#{number} {count:.1f}" for number, count in calls.most_common(6))


def watchdog(seconds: int) -> None:
    """Ends a run that has kept the CPU busy for too long (counted as instructions: a slow host does not matter), or that
    will be ended from outside soon, and tells which threads ran, and where this program stands."""
    # The real-time clock is this machine's, whatever the guest's other clocks count.
    clock = Path("/sys/class/rtc/rtc0/since_epoch")
    end = int(clock.read_text()) + HOST_SECONDS_MAX

    def bark() -> None:
        def busy() -> float:
            return sum(map(int, Path("/proc/stat").read_text().split()[1:4])) / os.sysconf("SC_CLK_TCK")

        while busy() < seconds and int(clock.read_text()) < end:
            time.sleep(1)
        print(f"hung: busy for {busy():.0f} s, {int(clock.read_text()) - end + HOST_SECONDS_MAX} s of the host's clock")
        rows = []
        for task in Path("/proc").glob("[0-9]*/task/[0-9]*"):
            with contextlib.suppress(OSError):
                ran = int((task / "schedstat").read_text().split()[0]) // 10**9
                rows.append((ran, task.name, (task / "comm").read_text().strip(), (task / "wchan").read_text(),
                             (task / "syscall").read_text().strip()))
        for row in sorted(rows, reverse=True)[:12]:
            print("hung:", *row, flush=True)
        faulthandler.dump_traceback(sys.stdout)
        os._exit(HUNG)

    threading.Thread(target=bark, daemon=True).start()


def inside(folder: Path, images: Path) -> int:
    import events

    watchdog(BUSY_SECONDS_MAX)
    events.mount()
    work = Path("/tmp/perf")
    shutil.copytree(folder / "boots", work / "boots")
    table = Table()
    measure_boots(table, work / "boots")
    shutil.rmtree(work / "boots")
    shutil.copytree(folder / "programs", work / "programs")
    shutil.copytree(images, work / "images")
    measure_streams(table, work / "programs", work / "images")
    print(f"{table.passed} passed, {table.failed} failed")
    return 1 if table.failed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        sys.exit(inside(Path(sys.argv[2]), Path(sys.argv[3])))
    sys.exit(outside(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build").resolve()))
