# SPDX-License-Identifier: Apache-2.0
"""The monitor on a real /dev/kvm: whole boots of the stock kernel, and what stops a guest before it starts.

boot_test.py MONITOR IMAGES, on a machine with /dev/kvm; run.py finds one.
"""

from __future__ import annotations

import re
import struct
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import launch  # noqa: E402

MONITOR = IMAGES = None
POWER_OFF, TRIPLE_FAULT, BAD_REQUEST = 0, 65, 67

REPORT = """
echo "report: up"
for module in $($b cat /modules/order 2>/dev/null); do $b insmod /modules/$module; done
echo "report: cpus $($b grep -c ^processor /proc/cpuinfo)"
echo "report: memory $($b awk '/MemTotal/ {print $2}' /proc/meminfo)"
echo "report: clock $($b cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
echo "report: disks $($b cat /sys/block/vda/serial) $($b cat /sys/block/vda/ro) $($b cat /sys/block/vdb/serial)"
echo "report: virtualised $($b grep -cwE 'vmx|svm' /proc/cpuinfo)"
$b dd if=/dev/vda bs=1024 skip=1 count=1 2>/dev/null | $b od -An -tx4 -N4 | $b sed 's/^/report: root /'
echo 0123456789abcdef | $b dd of=/dev/vdb bs=512 seek=100 conv=sync,fsync 2>/dev/null
"""

LOAD_MODULES = """
for module in $($b cat /modules/order 2>/dev/null); do $b insmod /modules/$module; done
"""


class MonitorTest(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.paths = launch.image_paths(IMAGES)
        self.initrd = Path(self.folder.name) / "initrd"
        self.disk = Path(self.folder.name) / "disk"
        with self.disk.open("wb") as file:
            file.truncate(64 << 20)

    def start(self, cpus: int = 1, memory: int = 256, append: str = "", on_line=None, layers=(),
              **changed: str) -> launch.Monitor:
        packet = changed.pop("packet", None) or launch.config(cpus, memory, f"{launch.COMMAND_LINE} {append}",
                                                              disk_layers=len(layers))
        files = {"kernel": self.paths["kernel"], "initrd": self.initrd, "root": self.paths["root"], "disk": self.disk}
        files.update(changed)
        monitor = launch.Monitor(str(MONITOR), packet, on_line=on_line,
                                 layers=layers, **{name: str(path) for name, path in files.items()})
        self.addCleanup(monitor.process.kill)  # a test that fails leaves no guest behind
        return monitor

    def boot(self, script: str, **options: object) -> tuple[int, str]:
        launch.make_initrd(self.initrd, script, self.paths["modules"])
        monitor = self.start(**options)
        try:
            status = monitor.wait(300)
        except subprocess.TimeoutExpired:
            self.fail("the guest is not through:\n" + "\n".join(monitor.lines[-40:]))
        log = "\n".join(monitor.lines)
        self.assertNotRegex(log, r"WARNING|BUG:|Oops|Call Trace", "the guest's kernel complained")
        return status, log

    def report(self, log: str, word: str) -> str:
        found = re.search(rf"report: {word} *(.*)", log)
        self.assertIsNotNone(found, f"no report of {word} in:\n{log}")
        return found[1].strip()

    def boot_as_the_product(self, cpus: int) -> None:
        """With the product's command line, but loud: the kernel has nothing to complain of."""
        words = (Path(MONITOR).parent / "command_line.txt").read_text().split()
        silent = {"quiet", "loglevel=3", "8250.nr_uarts=0"}  # with these, nothing below an error is on the console
        self.assertLessEqual(silent, set(words))
        line = " ".join(["console=ttyS0", *(word for word in words if word not in silent)])
        status, log = self.boot(REPORT + "$b poweroff -f", cpus=cpus, memory=512, packet=launch.config(cpus, 512, line))
        self.assertEqual(status, POWER_OFF, log)
        self.assertEqual(self.report(log, "cpus"), str(cpus))
        self.assertEqual(self.report(log, "clock"), "kvm-clock")


class BootTest(MonitorTest):
    """Whole boots."""

    def test_stock_kernel_boots_with_disks_and_powers_off(self) -> None:
        status, log = self.boot(REPORT + "$b poweroff -f")
        self.assertEqual(status, POWER_OFF, log)
        self.assertEqual(self.report(log, "cpus"), "1")
        self.assertEqual(self.report(log, "clock"), "kvm-clock")
        self.assertEqual(self.report(log, "disks"), "root 1 disk")
        self.assertEqual(self.report(log, "virtualised"), "0")
        self.assertEqual(self.report(log, "root"), "e0f5e1e2")  # the magic of EROFS
        with self.disk.open("rb") as file:
            file.seek(100 * 512)
            self.assertEqual(file.read(17), b"0123456789abcdef\n")

    def test_with_the_products_command_line_the_kernel_has_nothing_to_complain_of(self) -> None:
        self.boot_as_the_product(3)

    def test_a_running_monitor_is_jailed(self) -> None:
        launch.make_initrd(self.initrd, 'echo "report: up"; $b sleep 60; $b poweroff -f')
        up = threading.Event()
        monitor = self.start(cpus=2, append="quiet", on_line=lambda line: "report: up" in line and up.set())
        self.assertTrue(up.wait(120), "\n".join(monitor.lines))
        process = Path("/proc") / str(monitor.process.pid)
        for kind in ("user", "mnt", "ipc", "net", "uts", "cgroup"):
            ours, theirs = ((folder / "ns" / kind).readlink() for folder in (Path("/proc/self"), process))
            self.assertNotEqual(ours, theirs, kind)
        self.assertEqual(list((process / "root").iterdir()), [])
        threads = list((process / "task").iterdir())
        self.assertEqual(len(threads), 3)  # the loop and two vCPUs
        for thread in threads:
            status = dict(line.split(":\t", 1) for line in (thread / "status").read_text().splitlines() if ":\t" in line)
            self.assertEqual(status["Seccomp"].strip(), "2")
            self.assertEqual(status["NoNewPrivs"].strip(), "1")
            for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                self.assertEqual(int(status[kind], 16), 0, kind)
        monitor.process.kill()
        monitor.wait(30)

    def test_two_vcpus_and_memory_across_the_device_hole(self) -> None:
        status, log = self.boot(REPORT + "$b poweroff -f", cpus=2, memory=3500)
        self.assertEqual(status, POWER_OFF)
        self.assertEqual(self.report(log, "cpus"), "2")
        self.assertGreater(int(self.report(log, "memory")), 3_300_000)

    def test_random_bytes_come_from_the_device(self) -> None:
        status, log = self.boot(LOAD_MODULES + """
echo "report: generator $($b cat /sys/class/misc/hw_random/rng_current)"
echo "report: random $($b dd if=/dev/hwrng bs=4096 count=32 iflag=fullblock 2>/dev/null | $b sort -u | $b wc -c)"
$b poweroff -f""", append="quiet")
        self.assertEqual(status, POWER_OFF)
        self.assertRegex(self.report(log, "generator"), r"^virtio_rng")
        self.assertGreater(int(self.report(log, "random")), 100_000)

    def test_memory_that_the_guest_frees_goes_back_to_the_host(self) -> None:
        launch.make_initrd(self.initrd, LOAD_MODULES + """
$b mount -t tmpfs none /mnt
$b dd if=/dev/zero of=/mnt/file bs=1M count=64 2>/dev/null
echo "report: filled"; $b sleep 1
$b rm /mnt/file; $b sleep 8  # the kernel reports free pages 2 s after they were freed
echo "report: freed"; $b sleep 30; $b poweroff -f""", self.paths["modules"])
        resident: dict[str, int] = {}
        done = threading.Event()

        def look(line: str) -> None:
            if line.startswith("report: "):
                status = Path(f"/proc/{monitor.process.pid}/status").read_text()
                resident[line.split()[1]] = int(re.search(r"RssAnon:\s*(\d+)", status)[1])
            if "freed" in line:
                done.set()

        monitor = self.start(append="quiet", on_line=look)
        self.assertTrue(done.wait(120), "\n".join(monitor.lines))
        monitor.process.kill()
        monitor.wait(30)
        self.assertGreater(resident["filled"], 64 << 10)
        self.assertLess(resident["freed"], resident["filled"] - (48 << 10), resident)

    def ask(self, monitor: launch.Monitor, kind: int, value: int = 0) -> tuple[int, ...]:
        """One request of the control protocol; libsandforge/vmm/monitor/control.hpp has the layout."""
        monitor.control.settimeout(30)
        monitor.control.send(struct.pack("<HIQ", kind, 7, value))
        while True:
            answer = struct.unpack("<HIHQBQQQQ", monitor.control.recv(256))
            if answer[1] == 7:
                return answer

    def test_balloon_takes_what_the_owner_asks_for_and_gives_it_back(self) -> None:
        status_kind, target_kind, wanted = 1, 4, 64 << 20
        launch.make_initrd(self.initrd, LOAD_MODULES + """
free() { echo "report: $1 $($b awk '/MemFree/ {print $2}' /proc/meminfo)"; }
free before; $b sleep 15; free inflated; $b sleep 15; free after; $b sleep 30; $b poweroff -f""", self.paths["modules"])
        answers: dict[str, tuple[int, ...]] = {}
        done = threading.Event()

        def look(line: str) -> None:
            word = line.split()[1] if line.startswith("report: ") else ""
            if word:
                answers[word] = self.ask(monitor, status_kind)
            if word in ("before", "inflated"):
                self.ask(monitor, target_kind, wanted if word == "before" else 0)
            if word == "after":
                done.set()

        monitor = self.start(append="quiet", on_line=look)
        self.assertTrue(done.wait(120), "\n".join(monitor.lines))
        monitor.process.kill()
        monitor.wait(30)
        log = "\n".join(monitor.lines)
        given = {word: answer[7] for word, answer in answers.items()}
        self.assertEqual(given, {"before": 0, "inflated": wanted, "after": 0})
        self.assertGreaterEqual(answers["inflated"][8], wanted)  # bytes released
        free = {word: int(self.report(log, word)) for word in given}
        self.assertLess(free["inflated"], free["before"] - (56 << 10))
        self.assertGreater(free["after"], free["before"] - (8 << 10))
        self.assertNotRegex(log, r"WARNING|BUG:|Oops|Call Trace")

    def layer_map(self, name: str) -> Path:
        """The map of an empty layer of the private disk; libsandforge/vmm/storage/block_map.hpp has the layout."""
        size = self.disk.stat().st_size
        path = Path(self.folder.name) / name
        with path.open("wb") as file:
            file.write(struct.pack("<IIQII", 0x504D4453, 1, size, 4096, 0))
            file.truncate(4096 + (size // 4096 + 7) // 8)
        return path

    def test_layered_disk_is_copied_on_write_and_keeps_what_lies_below(self) -> None:
        base = Path(self.folder.name) / "base"
        content = b"".join(b"%07d\n" % (offset // 8) for offset in range(0, 1 << 20, 8))
        with base.open("wb") as file:
            file.write(content)
            file.truncate(64 << 20)
        above = self.layer_map("map")
        script = LOAD_MODULES + """
echo first | $b dd of=/dev/vdb bs=512 seek=9 conv=sync,fsync 2>/dev/null
$b blkdiscard -o 65536 -l 65536 /dev/vdb && echo "report: discard done"
$b mke2fs -q /dev/vdb 2>/dev/null
$b dd if=/dev/vdb bs=1M count=1 2>/dev/null | $b md5sum | $b sed 's/^/report: sum /'
$b poweroff -f"""
        sums = []
        for script in (script, LOAD_MODULES + script.splitlines()[-2] + "\n$b poweroff -f"):
            status, log = self.boot(script, append="quiet", layers=[(str(above), str(base))])
            self.assertEqual(status, POWER_OFF, log)
            sums.append(self.report(log, "sum"))
        self.assertEqual(sums[0], sums[1])  # the layer outlives its monitor
        with base.open("rb") as file:
            self.assertEqual(file.read(1 << 20), content)
        self.assertLess(self.disk.stat().st_blocks * 512, 4 << 20)  # only what was written

    def test_every_guest_has_a_generation_id_of_its_own(self) -> None:
        seen = set()
        for _ in range(2):
            status, log = self.boot("""
echo "report: device $($b cat /sys/bus/acpi/devices/SNDF0001:00/modalias)"
echo "report: tables $($b od -An -tx1 -v /sys/firmware/acpi/tables/DSDT | $b tr -d ' \n')"
$b test -d /sys/bus/acpi/drivers/vmgenid && echo "report: driver" /sys/bus/acpi/drivers/vmgenid/*
$b dd if=/dev/mem bs=16 skip=57092 count=1 2>/dev/null | $b od -An -tx1 | $b sed 's/^/report: id /'
$b poweroff -f""", append="quiet")
            self.assertEqual(status, POWER_OFF)
            self.assertEqual(self.report(log, "device"), "acpi:SNDF0001:VM_GEN_COUNTER:")
            # ADDR: a package of two, 0xdf040 and 0.
            self.assertIn(b"ADDR\x12\x08\x02\x0c\x40\xf0\x0d\x00\x00", bytes.fromhex(self.report(log, "tables")))
            if "report: driver" in log:  # a kernel of our own has it, the stock cloud kernel has not
                self.assertIn("/SNDF0001:00", self.report(log, "driver"))
            seen.add(self.report(log, "id"))
        self.assertEqual(len(seen), 2)
        self.assertNotIn("00 " * 15 + "00", seen)

    def test_reset_ends_the_guest_as_a_reset(self) -> None:
        status, _ = self.boot("$b reboot -f", append="quiet")
        self.assertEqual(status, TRIPLE_FAULT)  # reboot=t

    def test_panic_ends_the_guest(self) -> None:
        launch.make_initrd(self.initrd, "exit 1")
        monitor = self.start(append="quiet loglevel=3")
        self.assertEqual(monitor.wait(120), TRIPLE_FAULT)
        self.assertIn("Kernel panic", "\n".join(monitor.lines))


class RefusalTest(MonitorTest):
    """Typed endings before the guest starts."""

    def refused(self, word: str, **changed: object) -> None:
        launch.make_initrd(self.initrd, "")
        monitor = self.start(**changed)
        status, log = monitor.wait(30), "\n".join(monitor.lines)
        self.assertEqual(status, BAD_REQUEST, log)
        self.assertIn(word, log)

    def write(self, name: str, content: bytes) -> Path:
        path = Path(self.folder.name) / name
        path.write_bytes(content)
        return path

    def test_kernel_that_is_no_kernel(self) -> None:
        self.refused("no ELF file", kernel=self.write("kernel", b"#!/bin/sh\n" * 100))

    def test_truncated_kernel(self) -> None:
        with self.paths["kernel"].open("rb") as file:
            head = file.read(4 << 20)
        self.refused("truncated", kernel=self.write("kernel", head))

    def test_empty_initrd(self) -> None:
        self.refused("initrd", initrd=self.write("empty", b""))

    def test_initrd_larger_than_memory(self) -> None:
        big = self.write("big", b"x")
        with big.open("r+b") as file:
            file.truncate(300 << 20)
        self.refused("memory", initrd=big)

    def test_empty_disk(self) -> None:
        self.refused("disk", disk=self.write("empty", b""))

    def test_configuration_that_makes_no_sense(self) -> None:
        self.refused("configuration", packet=launch.config(33, 256, ""))
        self.refused("malformed", packet=b"nonsense")

    def test_command_line_that_is_too_long(self) -> None:
        self.refused("malformed", packet=launch.config(1, 256, "x" * 2048))

    def test_device_that_is_no_kvm(self) -> None:
        launch.make_initrd(self.initrd, "")
        packet = launch.config(1, 256, launch.COMMAND_LINE)
        monitor = launch.Monitor(str(MONITOR), packet, str(self.paths["kernel"]), str(self.initrd),
                                 str(self.paths["root"]), str(self.disk), kvm="/dev/null")
        self.assertEqual(monitor.wait(30), BAD_REQUEST)
        self.assertIn("kvm", "\n".join(monitor.lines))


if __name__ == "__main__":
    IMAGES = Path(sys.argv.pop())
    MONITOR = Path(sys.argv.pop()).resolve()
    unittest.main(verbosity=2)
