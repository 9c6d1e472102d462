# SPDX-License-Identifier: Apache-2.0
"""Running monitors seen from outside, through a daemon: jail_test.py SANDFORGED, on a machine with /dev/kvm.

Once with the daemon as root, once as a user who has nothing but the group of /dev/kvm.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import http_harness  # noqa: E402

PROGRAM = ""
USER = 4711  # nobody's
GROUP_CAN = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def status_of(folder: Path) -> dict[str, str]:
    return {key: value.strip() for key, value in
            (line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)}


def children(parent: int) -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int(status_of(entry)["PPid"]) == parent:
                found.add(int(entry.name))
        except (FileNotFoundError, ProcessLookupError, KeyError):
            continue
    return found


def limits_of(pid: int) -> dict[str, tuple[str, str]]:
    rows = Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    found = (re.match(r"(.{25}) (\S+) +(\S+)", row) for row in rows)
    return {match[1].strip(): (match[2], match[3]) for match in found if match}


class JailCases(http_harness.Base):
    """What holds for every monitor, whoever the daemon is."""

    groups: list[str] = []  # an ordinary user cannot drop its own

    def monitor(self, **spec: object) -> tuple[str, int]:
        before = children(self.daemon.process.pid)
        name = self.create(backend="linux-kvm", cpu=1, memory_mb=256, **spec)
        (pid,) = children(self.daemon.process.pid) - before
        return name, pid

    def check_jail(self, pid: int) -> None:
        process = Path(f"/proc/{pid}")
        for kind in ("user", "mnt", "pid", "ipc", "net", "uts", "cgroup"):
            self.assertNotEqual(os.readlink(f"/proc/self/ns/{kind}"), os.readlink(process / "ns" / kind), kind)
        self.assertEqual(list((process / "root").iterdir()), [], "an empty root")
        mounts = (process / "mountinfo").read_text().splitlines()
        self.assertEqual(len(mounts), 1, mounts)
        for word in ("ro", "nosuid", "nodev", "noexec"):
            self.assertIn(word, mounts[0].split()[5].split(","))
        self.assertEqual((process / "environ").read_bytes(), b"", "environment")
        threads = list((process / "task").iterdir())
        self.assertEqual(len(threads), 2, "the loop and a vCPU")
        for thread in threads:
            status = status_of(thread)
            self.assertEqual(status["Seccomp"], "2")
            self.assertEqual(status["NoNewPrivs"], "1")
            self.assertEqual(status["Groups"].split(), self.groups)
            for kind in GROUP_CAN:
                self.assertEqual(int(status[kind], 16), 0, kind)
        self.assertEqual(status_of(process)["Umask"], "0077")
        # A process that cannot be dumped belongs to root in /proc, whoever it runs as.
        self.assertEqual((process / "status").stat().st_uid, 0)
        limits = limits_of(pid)
        self.assertEqual(limits["Max core file size"], ("0", "0"))
        self.assertEqual(limits["Max processes"], ("0", "0"))
        self.assertEqual(limits["Max locked memory"], ("0", "0"))
        self.assertEqual(limits["Max open files"], ("256", "256"))
        disk = str((process / "fd/8").stat().st_size)
        self.assertEqual(limits["Max file size"], (disk, disk), "no file grows beyond the private disk")
        modes = {int(entry.name): entry.stat().st_mode for entry in (process / "fd").iterdir()}
        self.assertEqual({fd for fd, mode in modes.items() if stat.S_ISREG(mode)}, {7, 8}, "root image and disk")
        self.assertFalse([fd for fd, mode in modes.items() if stat.S_ISCHR(mode) or stat.S_ISBLK(mode)], "a device")
        kinds = sorted(os.readlink(entry) for entry in (process / "fd").iterdir())
        # Of six devices an interrupt, an acknowledgement and eleven kicks; and four of the monitor's own.
        events = kinds.count("anon_inode:[eventfd]")
        self.assertLessEqual(events, 6 + 6 + 11 + 4, kinds)
        self.assertLessEqual(len(kinds) - events, 12, kinds)

    def test_a_monitor_is_jailed(self) -> None:
        _, pid = self.monitor()
        self.check_jail(pid)

    def test_a_monitor_that_is_killed_ends_its_sandbox_at_once_and_no_other(self) -> None:
        victim, pid = self.monitor()
        neighbour, _ = self.monitor()
        answers: list[tuple[float, object]] = []

        def run() -> None:
            answer = self.call("POST", f"/v1/sandboxes/{victim}/exec", {"command": ["/bin/sleep", "600"]})
            answers.append((time.monotonic(), answer.json))

        runner = threading.Thread(target=run)
        runner.start()
        http_harness.until("the command runs", lambda: self.call(
            "GET", f"/v1/sandboxes/{victim}").json["state"] == "executing")
        killed = time.monotonic()
        os.kill(pid, 9)
        runner.join(30)
        self.assertEqual(len(answers), 1, "the command was not told")
        # The descriptor of the process tells; the longest step is the answer's way. An agent that is merely silent is
        # given up after 1 s: sooner than that is no poll and no time-out.
        self.assertLess(answers[0][0] - killed, 1.0)
        self.assertIn("vm_crash", str(answers[0][1]))
        shown = self.call("GET", f"/v1/sandboxes/{victim}").json
        self.assertEqual(shown["state"], "error")
        self.assertEqual(self.run_in(neighbour, ["/bin/echo", "here"])["stdout"], "here\n")

    def test_a_daemon_that_is_killed_takes_its_monitors_along(self) -> None:
        daemon = self.start_daemon()
        self.addCleanup(daemon.remove)
        self.addCleanup(daemon.process.kill)
        own, type(self).daemon = self.daemon, daemon
        try:
            before = children(daemon.process.pid)
            answer = self.call("POST", "/v1/sandboxes", {"spec": {"backend": "linux-kvm", "cpu": 1, "memory_mb": 256}})
            self.assertEqual(answer.status, 201, answer.body)
            (pid,) = children(daemon.process.pid) - before
        finally:
            type(self).daemon = own
        daemon.process.kill()
        daemon.process.wait()
        daemon.stop()
        http_harness.until("the monitor is gone", lambda: not Path(f"/proc/{pid}").exists(), 10)

    @classmethod
    def start_daemon(cls) -> http_harness.Daemon:
        return http_harness.Daemon()

    @classmethod
    def setUpClass(cls) -> None:
        cls.daemon = cls.start_daemon()


@unittest.skipIf(os.geteuid() != 0, "gives each monitor a user id of its own, which takes root")
class RootTest(JailCases):
    def test_every_monitor_has_a_user_id_and_a_control_group_of_its_own(self) -> None:
        pids = [self.monitor()[1] for _ in range(2)]
        ids = [status_of(Path(f"/proc/{pid}"))["Uid"].split() for pid in pids]
        groups = [status_of(Path(f"/proc/{pid}"))["Gid"].split() for pid in pids]
        for one in [*ids, *groups]:
            self.assertEqual(len(set(one)), 1, "real, effective, saved and file system id are one")
            self.assertGreaterEqual(int(one[0]), 0x6f000000)
        self.assertNotEqual(ids[0], ids[1])
        if Path("/proc/self/cgroup").read_text() != "0::/\n":
            self.skipTest("not in the root of the cgroup hierarchy, where groups may be made")
        folders = []
        for pid in pids:
            own = Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::/")
            folder = Path("/sys/fs/cgroup") / own
            folders.append(folder)
            self.assertTrue(own.startswith("sandforge-guest-"), own)
            self.assertEqual((folder / "cgroup.procs").read_text().split(), [str(pid)])
            memory = int((folder / "memory.max").read_text())
            self.assertTrue(256 << 20 < memory < 400 << 20, memory)
            self.assertEqual((folder / "pids.max").read_text().strip(), "9")
            self.assertEqual((folder / "cpu.max").read_text().strip(), "200000 100000")
        self.assertNotEqual(folders[0], folders[1])
        self.doCleanups()
        http_harness.until("the groups are gone", lambda: not any(folder.exists() for folder in folders), 10)


    def test_what_a_killed_daemon_leaves_of_control_groups_goes_with_the_next_one(self) -> None:
        if Path("/proc/self/cgroup").read_text() != "0::/\n":
            self.skipTest("not in the root of the cgroup hierarchy, where groups may be made")
        groups = lambda: set(Path("/sys/fs/cgroup").glob("sandforge-guest-*"))  # noqa: E731
        before, own = groups(), self.daemon
        daemon = self.start_daemon()
        self.addCleanup(daemon.remove)
        type(self).daemon = daemon
        try:
            _, pid = self.monitor()
        finally:
            type(self).daemon = own
        (left,) = groups() - before
        daemon.process.kill()
        daemon.stop()
        http_harness.until("the monitor is gone", lambda: not Path(f"/proc/{pid}").exists(), 10)
        self.assertTrue(left.exists())
        following = http_harness.Daemon(directory=daemon.directory)
        self.addCleanup(following.stop)
        self.assertFalse(left.exists())
        self.assertEqual(groups() & before, before, "those of others stay")


@unittest.skipIf(os.geteuid() != 0, "becomes somebody else, which takes root")
class UserTest(JailCases):
    """The daemon of a user in the group of /dev/kvm, and in no other."""

    @classmethod
    def setUpClass(cls) -> None:
        device = os.stat("/dev/kvm")
        group = device.st_gid or 4712
        os.chown("/dev/kvm", 0, group)
        os.chmod("/dev/kvm", 0o660)
        cls.addClassCleanup(os.chown, "/dev/kvm", device.st_uid, device.st_gid)
        cls.addClassCleanup(os.chmod, "/dev/kvm", stat.S_IMODE(device.st_mode))
        cls.group = group
        cls.groups = [str(group)]
        # Root's image store lies in a folder that only root may pass.
        folder = tempfile.mkdtemp(prefix="sandforge-images-")
        os.chmod(folder, 0o755)
        subprocess.run(["mount", "--bind", os.environ["SANDFORGE_IMAGE_DIR"], folder], check=True)
        cls.addClassCleanup(os.rmdir, folder)
        cls.addClassCleanup(subprocess.run, ["umount", folder], check=True)
        cls.addClassCleanup(os.environ.__setitem__, "SANDFORGE_IMAGE_DIR", os.environ["SANDFORGE_IMAGE_DIR"])
        os.environ["SANDFORGE_IMAGE_DIR"] = folder
        super().setUpClass()

    @classmethod
    def start_daemon(cls) -> http_harness.Daemon:
        return http_harness.Daemon(user=USER, groups=[cls.group])

    def test_the_monitor_runs_as_that_user(self) -> None:
        _, pid = self.monitor()
        self.assertEqual(set(status_of(Path(f"/proc/{pid}"))["Uid"].split()), {str(USER)})


del JailCases  # the two above run its cases

if __name__ == "__main__":
    os.environ["SANDFORGED"] = sys.argv.pop()
    if shutil.which("mke2fs", path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
        print("mke2fs is missing")
        sys.exit(77)
    unittest.main(verbosity=2)
