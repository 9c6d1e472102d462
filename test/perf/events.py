# SPDX-License-Identifier: Apache-2.0
"""The kernel's trace events and KVM's counters, as the stop-watch reads them. Runs as root."""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
from collections import Counter
from pathlib import Path

TRACING = Path("/sys/kernel/tracing")
KVM_COUNTERS = Path("/sys/kernel/debug/kvm")
MARKER_LEAF = 0x4FFF00E9  # of CPUID: marker_init.c
# SPEC: include/uapi/linux/kvm.h, reasons of an exit to user space.
EXIT_NAMES = {2: "port", 4: "debug", 5: "halt", 6: "mmio", 7: "window", 8: "shutdown", 10: "interrupted", 26: "eoi"}


def mount() -> None:
    for kind, folder in (("debugfs", "/sys/kernel/debug"), ("tracefs", str(TRACING))):
        if not os.listdir(folder):
            subprocess.run(["mount", "-t", kind, kind, folder], check=True)
    # A clock that counts instructions under -icount, and that all processes can read.
    (TRACING / "trace_clock").write_text("mono")
    (TRACING / "buffer_size_kb").write_text("16384")


def put(name: str, text: str) -> None:
    (TRACING / name).write_text(text)


class Trace:
    """Events between start() and stop(). `events` maps "system/name" to a filter, or to "" for all."""

    def __init__(self, events: dict[str, str], counted: dict[str, str] | None = None) -> None:
        self.events = events
        # Histograms are counted in the kernel, not recorded. Of the entries into guests the first tells enough.
        self.triggers = {event: f"hist:keys={keys}" for event, keys in (counted or {}).items()}
        if "kvm/kvm_entry" in events:
            self.triggers["kvm/kvm_exit"] = "disable_event:kvm:kvm_entry:1"
        self.lines: list[str] = []

    def start(self) -> None:
        put("tracing_on", "0")
        put("trace", "")
        for event, condition in self.events.items():
            put(f"events/{event}/filter", condition or "0")
            put(f"events/{event}/enable", "1")
        for event, trigger in self.triggers.items():
            put(f"events/{event}/trigger", trigger)
        put("tracing_on", "1")

    def wait_for(self, text: str, pid: int) -> None:
        """Blocks until a recorded event has `text`; takes the events out of the buffer. Error: the process ended."""
        pidfd = os.pidfd_open(pid)
        pipe = os.open(TRACING / "trace_pipe", os.O_RDONLY | os.O_NONBLOCK)
        try:
            left = ""
            while True:
                ready, _, _ = select.select([pipe, pidfd], [], [])
                with contextlib.suppress(BlockingIOError):
                    left += os.read(pipe, 65536).decode()
                *whole, left = left.split("\n")
                self.lines += whole
                if any(text in line for line in whole):
                    return
                if pidfd in ready:
                    raise RuntimeError(f"process {pid} ended before its guest came to {text!r}")
        finally:
            os.close(pipe)
            os.close(pidfd)

    def histogram(self, event: str, value: str = "hitcount") -> Counter:
        """Hits, or sums of another value, by key; a tuple of numbers where there are several keys."""
        text = (TRACING / "events" / event / "hist").read_text()
        sums: Counter = Counter()
        for keys, rest in re.findall(r"^\{ (.*?) \} (.*)$", text, re.M):
            numbers = tuple(int(number, 0) for number in re.findall(r"\w+: +(\w+)", keys))
            count = re.search(rf"\b{value}: +(\d+)", rest)
            sums[numbers if len(numbers) > 1 else numbers[0]] += int(count[1])
        return sums

    def stop(self) -> list[str]:
        put("tracing_on", "0")
        lines = (TRACING / "trace").read_text().splitlines()
        for event, trigger in self.triggers.items():
            put(f"events/{event}/trigger", f"!{trigger}")
        for event in self.events:
            put(f"events/{event}/enable", "0")
            put(f"events/{event}/filter", "0")
        return [line for line in lines if line and not line.startswith("#")]


def time_us(line: str) -> int:
    """When an event was: microseconds, which are thousands of instructions."""
    found = re.search(r" (\d+)\.(\d{6}): ", line)
    return int(found[1]) * 1_000_000 + int(found[2])


def name_of(line: str) -> str:
    return re.search(r" \d+\.\d{6}: (\w+):", line)[1]


def kvm_counters(pid: int) -> dict[str, int]:
    """KVM's own counters of a process's machine, vCPUs added up."""
    for folder in KVM_COUNTERS.glob(f"{pid}-*"):
        values = {}
        for file in folder.iterdir():
            if file.is_file() and (text := file.read_text().strip()).isdigit():
                values[file.name] = int(text)
        return values
    raise RuntimeError(f"process {pid} has no virtual machine")


def private_kib(pid: int, guest_bytes: int) -> int:
    """Private dirty memory outside the guest's: mappings as large as the guest's, and what lies in it, are left out."""
    total, skip_until, outside = 0, 0, True
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) \S+ (\S+) \S+ \S+ *(.*)", line):
            start, end = int(found[1], 16), int(found[2], 16)
            outside = not is_guest(start, end, guest_ranges(pid, guest_bytes))
        elif outside and line.startswith("Private_Dirty:"):
            total += int(line.split()[1])
    return total


def guest_ranges(pid: int, guest_bytes: int) -> list[tuple[int, int]]:
    """Runs of adjoining read-write mappings that are at least as large as the guest's memory."""
    runs: list[tuple[int, int]] = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        found = re.match(r"([0-9a-f]+)-([0-9a-f]+) (rw)", line)
        if not found:
            continue
        start, end = int(found[1], 16), int(found[2], 16)
        if runs and runs[-1][1] == start:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return [run for run in runs if run[1] - run[0] >= guest_bytes]


def is_guest(start: int, end: int, ranges: list[tuple[int, int]]) -> bool:
    return any(low <= start and end <= high for low, high in ranges)
