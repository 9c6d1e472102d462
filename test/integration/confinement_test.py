# SPDX-License-Identifier: Apache-2.0
"""What the process of a running guest may do on the host: confinement_test.py SANDFORGED [BACKEND]

Looks at /proc of the daemon's child, as an operator would. Exit status 77 where the backend is not available.
"""

from __future__ import annotations

import os
import sys
import unittest
from pathlib import Path

import http_harness

BACKEND = "linux-qemu"


def status_of(pid: int) -> dict[str, str]:
    text = Path(f"/proc/{pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


class ConfinementTest(http_harness.Base):
    def setUp(self) -> None:
        self.create(backend=BACKEND, cpu=1)
        (self.child,) = [
            int(entry.name) for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and status_or_none(int(entry.name)) == str(self.daemon.process.pid)]
        self.status = status_of(self.child)

    def test_a_guest_has_no_privilege_no_environment_and_no_network(self) -> None:
        self.assertEqual(self.status["CapEff"].strip("0"), "", "effective capabilities")
        self.assertEqual(self.status["NoNewPrivs"], "1")
        self.assertEqual(self.status["Seccomp"], "2", "a seccomp filter")
        if os.geteuid() == 0:
            self.assertNotIn("0", self.status["Uid"].split(), "root's guest runs under an id of its own")
            self.assertNotIn("0", self.status["Gid"].split())
        self.assertEqual(Path(f"/proc/{self.child}/environ").read_bytes(), b"", "environment")
        namespace = f"/proc/{self.child}/ns/net"
        self.assertNotEqual(os.readlink(namespace), os.readlink("/proc/self/ns/net"), "network namespace")
        devices = Path(f"/proc/{self.child}/net/dev").read_text().splitlines()[2:]
        self.assertEqual([line.split(":")[0].strip() for line in devices], ["lo"])

    def test_an_end_of_the_guest_leaves_no_process_and_no_file(self) -> None:
        before = self.daemon.open_files()
        name = self.create(backend=BACKEND, cpu=1)
        self.assertEqual(self.call("DELETE", f"/v1/sandboxes/{name}").status, 204)
        http_harness.until("the descriptors are back", lambda: self.daemon.open_files() <= before)
        left = [path for path in (self.daemon.directory / "state/sandboxes").iterdir() if path.name == name]
        self.assertEqual(left, [])


def status_or_none(pid: int) -> str | None:
    """The parent of a process; None when it has ended meanwhile."""
    try:
        return status_of(pid)["PPid"]
    except (FileNotFoundError, ProcessLookupError, KeyError):
        return None


if __name__ == "__main__":
    os.environ["SANDFORGED"] = sys.argv.pop(1)
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        BACKEND = sys.argv.pop(1)
    unittest.main()
