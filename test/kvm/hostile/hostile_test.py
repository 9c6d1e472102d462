# SPDX-License-Identifier: Apache-2.0
"""Hostile guests under the monitor, each with a deadline: it lives and answers its owner, or it ends in a typed way.

hostile_test.py MONITOR, on a machine with /dev/kvm, beside a folder `built` of what build.py made; run.py sees to both.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import launch  # noqa: E402

MONITOR = ""
GUESTS = Path(__file__).resolve().parent / "built"
POWER_OFF, RESET, TRIPLE_FAULT, VCPU_FAILED, STOPPED = 0, 64, 65, 66, 69
DEADLINE = 30  # seconds a case; the machine may itself be emulated
STATUS, PAUSE, RESUME, STOP = 1, 2, 3, 5
GROWTH_KIB = 2048  # of the monitor's private memory: page tables of its own, the allocator, pages of the guest


class Guest:
    def __init__(self, name: str, cpus: int = 2, read_log: bool = True) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="sandforge-hostile-")
        for file in ("initrd", "root", "disk"):
            (Path(self.folder.name) / file).write_bytes(bytes(1 << 20))
        self.reports: dict[str, tuple[int, int]] = {}
        self._started = threading.Event()
        self.began, self.ended = threading.Event(), threading.Event()
        self.monitor = launch.Monitor(
            MONITOR, launch.config(cpus, 128, ""), str(GUESTS / name),
            *(f"{self.folder.name}/{file}" for file in ("initrd", "root", "disk")), on_line=self._look,
            read_log=read_log)
        self.pid = self.monitor.process.pid
        self._id = 0
        self._started.set()

    def _look(self, line: str) -> None:
        if line in ("report: begin", "report: end"):
            self._started.wait()
            try:
                self.reports[line] = self.facts()
            except (FileNotFoundError, ProcessLookupError):
                pass  # it has ended already
            (self.began if line.endswith("begin") else self.ended).set()

    def facts(self) -> tuple[int, int]:
        """Descriptors, and KiB of private memory."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"RssAnon:\s*(\d+)", status)
        return len(os.listdir(f"/proc/{self.pid}/fd")), int(found[1]) if found else 0

    def processor_ticks(self) -> int:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    def ask(self, kind: int) -> tuple[int, int]:
        """A request of the control protocol: its result and the count of exits."""
        self._id += 1
        control = self.monitor.control
        control.settimeout(5)
        control.send(struct.pack("<HIQ", kind, self._id, 0))
        while True:
            answer = control.recv(256)
            got_kind, got_id, result, _, _, exits = struct.unpack_from("<HIHQBQ", answer)
            if (got_kind, got_id) == (kind, self._id):
                return result, exits

    def close(self) -> None:
        self.monitor.process.kill()
        self.monitor.process.wait()
        self.folder.cleanup()


class HostileTest(unittest.TestCase):
    def start(self, name: str, **options: object) -> Guest:
        guest = Guest(name, **options)
        self.addCleanup(guest.close)
        return guest

    def began(self, guest: Guest) -> None:
        self.assertTrue(guest.began.wait(DEADLINE), "the guest never began:\n" + "\n".join(guest.monitor.lines))

    def stop(self, guest: Guest) -> None:
        """The monitor still answers, holds the guest, lets it go, and ends when it is told to."""
        for kind in (STATUS, PAUSE, STATUS, RESUME):
            self.assertEqual(guest.ask(kind)[0], 0)
        asked = time.monotonic()
        guest.ask(STOP)
        self.assertEqual(guest.monitor.wait(10), STOPPED)
        self.assertLess(time.monotonic() - asked, 5)

    def survives(self, name: str) -> str:
        """The guest does its worst to the end; the monitor is as it was. The log."""
        guest = self.start(name)
        if not guest.ended.wait(DEADLINE):
            self.fail(f"not through within {DEADLINE} s, status {guest.monitor.process.poll()}:\n"
                      + "\n".join(guest.monitor.lines))
        before, after = guest.reports["report: begin"], guest.reports["report: end"]
        self.assertEqual(before[0], after[0], "descriptors")
        self.assertLess(after[1], before[1] + GROWTH_KIB, "private memory, KiB")
        self.stop(guest)
        log = "\n".join(guest.monitor.lines)
        self.assertLess(len(log), 16 << 10, "a flood of log lines")
        return log

    def ends(self, name: str, *statuses: int) -> str:
        guest = self.start(name)
        self.assertIn(guest.monitor.wait(DEADLINE), statuses, "\n".join(guest.monitor.lines))
        return "\n".join(guest.monitor.lines)

    def survives_or_ends(self, name: str, *statuses: int) -> None:
        guest = self.start(name)
        end = time.monotonic() + DEADLINE
        while not guest.ended.wait(0.05) and guest.monitor.process.poll() is None:
            self.assertLess(time.monotonic(), end, "neither through nor ended")
        if guest.monitor.process.poll() is None:
            self.stop(guest)
        else:
            self.assertIn(guest.monitor.wait(5), statuses)

    def test_triple_fault_is_an_ending(self) -> None:
        self.ends("triple_fault", TRIPLE_FAULT)

    def test_triple_fault_of_the_second_vcpu_is_an_ending(self) -> None:
        self.ends("other_triple_fault", TRIPLE_FAULT)

    def test_a_jump_to_where_no_memory_is_ends_the_guest(self) -> None:
        self.ends("jump_nowhere", TRIPLE_FAULT, VCPU_FAILED)

    def test_execution_of_device_registers_ends_the_guest(self) -> None:
        self.ends("execute_registers", TRIPLE_FAULT, VCPU_FAILED)

    def test_power_ports_used_in_odd_ways_do_nothing_until_used_right(self) -> None:
        self.ends("power_ports", RESET)

    def test_a_halt_with_interrupts_off_costs_nothing_and_can_be_stopped(self) -> None:
        guest = self.start("halt")
        self.began(guest)
        time.sleep(0.3)
        before = guest.processor_ticks()
        time.sleep(1)
        self.assertLessEqual(guest.processor_ticks() - before, 5, "ticks of 10 ms while nothing happens")
        self.stop(guest)

    def test_a_guest_that_hangs_is_killed_at_once(self) -> None:
        guest = self.start("hang")
        self.began(guest)
        asked = time.monotonic()
        guest.monitor.process.kill()
        self.assertEqual(guest.monitor.wait(10), -9)
        self.assertLess(time.monotonic() - asked, 5)

    def test_all_ports_in_all_widths(self) -> None:
        self.survives("ports")

    def test_registers_and_holes_in_all_widths(self) -> None:
        self.survives("mmio")

    def test_every_register_of_the_io_apic(self) -> None:
        self.survives_or_ends("io_apic", TRIPLE_FAULT, VCPU_FAILED)  # it can send itself INIT and SMI

    def test_every_register_of_the_local_apic(self) -> None:
        self.survives_or_ends("local_apic", TRIPLE_FAULT)

    def test_msrs_fault_or_answer(self) -> None:
        log = self.survives("msrs")
        self.assertIn("report: not offered, faults 00000001", log)
        faults = re.search(r"all faults ([0-9a-f]{8})", log)
        self.assertIsNotNone(faults, log)
        self.assertGreater(int(faults[1], 16), 1000)

    def test_cpuid_answers_every_leaf_and_hides_nested_virtualisation(self) -> None:
        self.assertIn("report: nested 00000000", self.survives("cpuid"))

    def test_a_ring_rewritten_by_another_vcpu(self) -> None:
        self.assertRegex(self.survives("ring_race"), r"report: broken [0-9a-f]{8}")

    def test_resets_with_requests_in_flight(self) -> None:
        self.survives("resets")

    def test_a_vsock_reset_with_data_in_flight(self) -> None:
        self.survives_streams("vsock_resets")

    def test_a_vsock_reset_by_another_vcpu(self) -> None:
        self.survives_streams("vsock_resets_other")

    def survives_streams(self, name: str) -> None:
        """As survives(), while somebody connects, sends and reads as fast as it goes."""
        guest = self.start(name)
        over = threading.Event()
        streams = 0

        def talk() -> None:
            nonlocal streams
            while not over.is_set():
                with socket.socket(socket.AF_UNIX) as stream, contextlib.suppress(OSError):
                    stream.settimeout(0.2)
                    stream.connect(guest.monitor.agent_path)
                    while not over.is_set():
                        stream.send(b"x" * 65536)
                        streams += bool(stream.recv(65536))

        talker = threading.Thread(target=talk)
        talker.start()
        self.addCleanup(talker.join)
        self.addCleanup(over.set)
        self.assertTrue(guest.ended.wait(DEADLINE), "\n".join(guest.monitor.lines))
        over.set()
        talker.join()
        self.assertGreater(streams, 0, "no stream ever carried data")
        self.stop(guest)

    def test_start_up_messages_without_end(self) -> None:
        self.survives_or_ends("start_storm", TRIPLE_FAULT, VCPU_FAILED)

    def test_a_flood_on_the_serial_line_that_nobody_reads_holds_nobody_up(self) -> None:
        guest = self.start("serial_flood", read_log=False)
        # Millions of exits: a lab that shares its CPUs takes longer than any other case.
        end, exits = time.monotonic() + 4 * DEADLINE, 0
        while True:  # until the guest has said it all
            time.sleep(2)
            self.assertLess(time.monotonic(), end)
            now = guest.ask(STATUS)[1]
            if now == exits and now >= 3:
                break
            exits = now
        self.stop(guest)
        self.assertLessEqual(sum(len(line) + 1 for line in guest.monitor.lines), 4 << 10)


if __name__ == "__main__":
    MONITOR = str(Path(sys.argv.pop()).resolve())
    unittest.main(verbosity=2)
