#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Boots a sandbox N times on a backend: every boot must answer its hello and one command.

    test/integration/boot_series.py [N] [--build DIR] [--cpu N] [--backend NAME]     default: 10 boots on linux-qemu

Two run at a time: load is what brings hangs to light. Exit status 77 when QEMU is missing. --driver names the program
that boots, where it lies elsewhere than in a build tree.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT = 150  # seconds for one boot, less what it had to wait for a CPU; the engine itself gives up after 120
LIMIT_IN_ALL = 900


class Tree:
    """A program and its descendants, as /proc shows them."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def processes(self) -> list[int]:
        found = [self.pid]
        for pid in found:
            with contextlib.suppress(OSError):
                for children in Path(f"/proc/{pid}/task").glob("*/children"):
                    found += map(int, children.read_text().split())
        return found

    def threads(self) -> list[tuple[float, float, str]]:
        """Seconds that it ran, seconds that it waited for a CPU, and where it stands; the busiest thread first."""
        rows = []
        for pid in self.processes():
            for task in Path(f"/proc/{pid}/task").glob("*"):
                with contextlib.suppress(OSError):
                    ran, waited, _ = (int(word) / 1e9 for word in (task / "schedstat").read_text().split())
                    where = [(task / name).read_text().strip() for name in ("comm", "wchan", "syscall")]
                    rows.append((ran, waited, f"{pid}/{task.name} {' '.join(where)}"))
        return sorted(rows, reverse=True)

    def starved(self) -> float:
        return max((waited for _, waited, _ in self.threads()), default=0.0)


def wait(process: subprocess.Popen[bytes]) -> str:
    """"" when it ended in time, else what can be seen of it. On a busy machine a boot takes as long as it has to wait
    for a CPU: that is not held against it."""
    started, tree = time.monotonic(), Tree(process.pid)
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
            return ""
        past, starved = time.monotonic() - started, tree.starved()
        if past - starved > LIMIT or past > LIMIT_IN_ALL:
            break
    rows = [f"  ran {ran:.1f} s, waited {waited:.1f} s: {where}" for ran, waited, where in tree.threads()]
    return "\n".join([f"no answer within {past:.0f} s, of which {starved:.0f} s without a CPU", *rows])


def boot(driver: Path, cpu: int, backend: str) -> tuple[float, str]:
    """One sandbox in a state directory of its own: seconds, and what went wrong ("" for nothing)."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sandforge-boot-") as work, open(f"{work}/log", "w+b") as log:
        command = [driver, f"{work}/state", "--backend", backend, "--cpu", str(cpu), "--verbose"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            problem = wait(process)
        finally:
            process.kill()
        status = process.wait()
        if status != 0:
            log.seek(0)
            problem += f"\nstatus {status}:\n{log.read()[-4096:].decode(errors='replace')}"
    return time.monotonic() - started, problem


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", nargs="?", type=int, default=10)
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--cpu", type=int, default=2)
    parser.add_argument("--backend", default="linux-qemu")
    parser.add_argument("--driver", type=Path)
    options = parser.parse_args()
    driver = (options.driver or options.build / "test/perf/driver").resolve()
    if not shutil.which("qemu-system-x86_64") or not driver.exists():
        print(f"QEMU is not installed or {driver} was not built")
        return 77
    workers = max(1, min(2, os.cpu_count() or 1))
    failed, times = 0, []

    def one(_: int) -> tuple[float, str]:
        return boot(driver, options.cpu, options.backend)

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for number, (seconds, problem) in enumerate(pool.map(one, range(options.count))):
            times.append(seconds)
            if problem:
                failed += 1
                print(f"boot {number}: {problem}", flush=True)
    times.sort()
    print(f"create, exec, destroy: fastest {times[0]:.2f} s, median {times[len(times) // 2]:.2f} s, "
          f"slowest {times[-1]:.2f} s ({workers} at a time; for information)")
    print(f"{len(times) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
