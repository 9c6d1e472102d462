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
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT = 150  # seconds for one boot; the engine itself gives up after 120


def boot(driver: Path, cpu: int, backend: str) -> tuple[float, str]:
    """One sandbox in a state directory of its own: seconds, and what went wrong ("" for nothing)."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sandforge-boot-") as work:
        command = [driver, f"{work}/state", "--backend", backend, "--cpu", str(cpu)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=LIMIT)
            problem = "" if done.returncode == 0 else f"status {done.returncode}: {done.stderr[-4096:]}"
        except subprocess.TimeoutExpired as late:
            problem = f"no answer within {LIMIT} s: {(late.stderr or b'')[-4096:]!r}"
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
