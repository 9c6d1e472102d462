#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a command in a nested Linux guest that has /dev/kvm, on a machine that has none.

QEMU's TCG emulates AMD SVM with nested paging, so a Debian kernel booted under it offers a working /dev/kvm. The guest
sees this machine's root file system (9p, read-only, under a tmpfs overlay) and each --rw folder read-write; the exit
status is the command's. About 5 s to the command. It has one CPU: with more, its kernel and its guests get interrupts
twice (libsandforge/doc/decisions/0006-the-lab-has-one-cpu.md). With --icount the guest's CLOCK_MONOTONIC counts retired
instructions (1 ns each), which is what performance is judged by; while the guest waits for this machine (a file over
9p) that clock jumps from timer to timer, so time limits mean nothing there. The guest never outlives this program.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1  # SPEC: linux/prctl.h
TIMED_OUT, DIED = 124, 125  # exit statuses of the lab's own, for the command gave none

MODULES = """virtio_pci 9pnet_virtio 9p overlay kvm_amd tun vhost_vsock virtio_net virtio_blk virtio_mmio virtio_console
vsock fuse virtiofs erofs ext4 veth loop""".split()

INIT = r"""#!/bin/busybox sh
# PID 1 of the lab: load modules, lay an overlay over the host's root file system, run the job, power off.
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t sysfs sysfs /sys; $b mount -t devtmpfs devtmpfs /dev
for module in $($b cat /modules/order); do
  case $module in
    kvm.ko) $b insmod /modules/$module nx_huge_pages=never ;;
    *) $b insmod /modules/$module ;;
  esac
done
nine=trans=virtio,version=9p2000.L,msize=1048576
fail() { echo "lab: $1"; $b poweroff -f; }
$b mount -t 9p -o $nine,cache=loose,ro host /host || fail 'no host file system'
$b mount -t tmpfs tmpfs /over; $b mkdir /over/upper /over/work
$b mount -t overlay -o lowerdir=/host,upperdir=/over/upper,workdir=/over/work overlay /root || fail 'no overlay'
for pair in devtmpfs:dev proc:proc sysfs:sys tmpfs:tmp tmpfs:run; do
  $b mount -t ${pair%%:*} ${pair%%:*} /root/${pair##*:}
done
$b mkdir -p /root/dev/pts /root/dev/shm
$b mount -t devpts devpts /root/dev/pts; $b mount -t tmpfs tmpfs /root/dev/shm
$b mount -t cgroup2 -o favordynmods cgroup2 /root/sys/fs/cgroup || $b mount -t cgroup2 cgroup2 /root/sys/fs/cgroup
$b ip link set lo up
$b mkdir -p /root/run/lab
$b mount -t 9p -o $nine job /root/run/lab || fail 'no job'
while read -r tag folder; do
  $b mkdir -p "/root$folder"; $b mount -t 9p -o $nine $tag "/root$folder"
done </root/run/lab/folders
# The overlay becomes the root of the mount namespace: in a mere chroot, user namespaces are forbidden.
cd /root
$b mount --move . /
$b chroot . /bin/bash /run/lab/job </dev/null
echo $? >run/lab/status
$b sync; $b poweroff -f
"""


def run(*command: str, cwd: Path | None = None, text: bool = True) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=text)
    if done.returncode != 0:
        sys.exit(f"lab: {shlex.join(command)} failed:\n{done.stderr}")
    return done.stdout


def module_order(tree: Path, release: str) -> list[Path]:
    """Files of MODULES and what they need, dependencies first."""
    order: list[Path] = []
    for module in MODULES:
        shown = run("modprobe", "-d", str(tree), "-S", release, "--show-depends", module)
        for line in shown.splitlines():
            if line.startswith("insmod "):
                path = Path(line.split()[1])
                if path not in order:
                    order.append(path)
    return order


def kernel_package() -> str | None:
    """The concrete package behind linux-image-amd64, None while apt's lists are empty."""
    shown = subprocess.run(["apt-cache", "depends", "linux-image-amd64"], capture_output=True, text=True).stdout
    found = re.search(r"Depends: (linux-image-\S+)", shown)
    return found[1] if found else None


def build(cache: Path) -> None:
    """Kernel and initrd of the lab, into `cache`."""
    package = kernel_package()
    if package is None and os.geteuid() == 0:
        run("apt-get", "-qq", "update")
        package = kernel_package()
    if package is None:
        sys.exit("lab: apt knows no linux-image-amd64; run apt-get update as root")
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        work = Path(folder)
        run("apt-get", "-o", "APT::Sandbox::User=root", "download", package, cwd=work)
        tree = work / "tree"
        run("dpkg-deb", "-x", str(next(work.glob("*.deb"))), str(tree))
        release = next((tree / "lib/modules").iterdir()).name
        run("depmod", "-b", str(tree), release)
        root = work / "root"
        for name in ("bin", "dev", "proc", "sys", "host", "over", "root", "modules"):
            (root / name).mkdir(parents=True)
        shutil.copy("/bin/busybox", root / "bin/busybox")
        order = module_order(tree, release)
        for path in order:
            shutil.copy(path, root / "modules" / path.name)
        (root / "modules/order").write_text("".join(f"{path.name}\n" for path in order))
        (root / "init").write_text(INIT)
        (root / "init").chmod(0o755)
        run("sh", "-c", "find . | cpio --quiet -o -H newc >../initrd", cwd=root)
        shutil.copy(tree / f"boot/vmlinuz-{release}", cache / "vmlinuz")
        (work / "initrd").rename(cache / "initrd")


def prepared() -> Path:
    key = hashlib.sha256((INIT + " ".join(MODULES)).encode()).hexdigest()[:16]
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = base / "sandforge" / "lab" / key
    cache.mkdir(parents=True, exist_ok=True)
    if not (cache / "initrd").exists():
        build(cache)
    return cache


def qemu_command(cache: Path, job: Path, icount: bool, mem: int, rw: Sequence[Path]) -> list[str]:
    command = ["qemu-system-x86_64", "-M", "q35", "-cpu", "max", "-m", str(mem), "-nographic", "-no-reboot",
               "-nic", "none", "-kernel", str(cache / "vmlinuz"), "-initrd", str(cache / "initrd"),
               "-append", "console=ttyS0 quiet loglevel=1 panic=-1 transparent_hugepage=never"]
    command += ["-accel", "tcg", "-smp", "1", "-icount", "shift=0,sleep=off"] if icount else \
        ["-accel", "tcg,thread=multi", "-smp", "1"]
    shares = [("host", Path("/"), ",readonly=on"), ("job", job, "")]
    shares += [(f"rw{i}", path, "") for i, path in enumerate(rw)]
    for tag, path, flags in shares:
        command += ["-fsdev", f"local,id={tag},path={path},security_model=none,multidevs=remap{flags}",
                    "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
    return command


def show(qemu: subprocess.Popen[bytes]) -> None:
    """What the job printed, less the firmware's and the kernel's own words on the console."""
    assert qemu.stdout
    for raw in qemu.stdout:
        line = re.sub(rb"\x1b(\[[0-9;?]*[a-zA-Z]|c)", b"", raw).replace(b"Booting from ROM..", b"").rstrip(b"\r\n")
        if line.startswith(b"SeaBIOS") or b"reboot: Power down" in line:
            continue
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.flush()


@contextlib.contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A program that never outlives this one: it is killed when the block is left, by SIGTERM, SIGINT and SIGHUP too,
    and by the kernel when this process ends in any other way. Main thread only."""
    libc, parent = ctypes.CDLL(None), os.getpid()

    def die_with_parent() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it had ended before the line above
            os._exit(1)

    def end(number: int, _frame: object) -> None:
        sys.exit(128 + number)  # by way of all the blocks that clean up

    heard = [number for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
             if signal.getsignal(number) != signal.SIG_IGN]  # as nohup has it
    before = {number: signal.signal(number, end) for number in heard}
    program = None
    try:
        program = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   preexec_fn=die_with_parent)
        yield program
    finally:
        if program is not None:
            program.kill()
            program.wait()
        for number, handler in before.items():
            signal.signal(number, handler)


def run_job(command: list[str], icount: bool = False, mem: int = 6144, timeout: int = 600,
            rw: Sequence[str | Path] = (), cwd: str | Path = ".") -> int:
    """Runs a command in the lab, from the folder `cwd`; the options of the command line. The command's exit status."""
    cache = prepared()
    shares = [Path(folder).resolve() for folder in rw]
    with tempfile.TemporaryDirectory(prefix="sandforge-lab-") as folder:
        job = Path(folder)
        (job / "folders").write_text("".join(f"rw{i} {path}\n" for i, path in enumerate(shares)))
        (job / "job").write_text(
            "export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
            f"cd {shlex.quote(str(Path(cwd).resolve()))}\n{shlex.join(command)}\n")
        late = threading.Event()
        with started(qemu_command(cache, job, icount, mem, shares)) as qemu:
            def end() -> None:
                late.set()
                qemu.kill()

            timer = threading.Timer(timeout, end)
            timer.start()
            try:
                show(qemu)
                qemu.wait()
            finally:
                timer.cancel()
        if late.is_set():
            print(f"lab: the guest did not finish within {timeout} s", file=sys.stderr)
            return TIMED_OUT
        status = job / "status"
        if not status.exists():
            print("lab: the guest ended without a status", file=sys.stderr)
            return DIED
        return int(status.read_text())


def run_suite(command: list[str], timeout: int, cwd: str | Path, icount: bool = False, hung: int = DIED) -> int:
    """run_job(), and once more in a new lab where the first one was at fault (decision 0006): it died or stopped with no
    word from the command, or the command says by the status `hung` that a guest stood still. A failure is a failure."""
    status = run_job(command, icount, timeout=timeout, cwd=cwd)
    if status not in (DIED, TIMED_OUT, hung):
        return status
    print("lab: it is the lab that failed; everything begins anew in another one", flush=True)
    return run_job(command, icount, timeout=timeout, cwd=cwd)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--icount", action="store_true", help="one vCPU, the monotonic clock counts instructions")
    parser.add_argument("--mem", type=int, default=6144, help="MiB")
    parser.add_argument("--timeout", type=int, default=600, help="seconds")
    parser.add_argument("--rw", action="append", default=[], help="a folder that the guest may write")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser.error("no command")
    return run_job(command, options.icount, options.mem, options.timeout, options.rw)


if __name__ == "__main__":
    sys.exit(main())
