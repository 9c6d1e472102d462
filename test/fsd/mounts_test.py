# SPDX-License-Identifier: Apache-2.0
"""What programs see of a mount: mounts_test.py BUILD [--full]. Takes root and a kernel with FUSE, else exits 77.

The kernel of this machine is the guest: fsd-relay mounts what a real, jailed sandforge-fsd serves. The directories
belong to a user of their own, as whom the server runs.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import multiprocessing
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

USER = 4711  # nobody's
FULL = bool(os.environ.get("SANDFORGE_FSD_FULL"))
BASE = Path(os.environ.get("SANDFORGE_FSD_BASE", "/nonexistent"))
HOST, HOST_RO, MOUNT = BASE / "rw", BASE / "ro", BASE / "mount"
RW, RO = BASE / "guest", BASE / "guest-ro"  # bound to MOUNT / "0" and "1", as an agent does
LIBC = ctypes.CDLL(None, use_errno=True)
FRESH = 1.0  # seconds that a guest may believe what it knows


def ask(line: str) -> str:
    with socket.socket(fileno=os.dup(9)) as relay:
        relay.sendall(line.encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            answer += relay.recv(4096)
    return answer.decode().strip()


def status() -> dict[str, int]:
    return {key: int(value) for key, value in (pair.split("=") for pair in ask("status").split())}


def run(*command: str, cwd: Path = RW, **more: object) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(BASE / "home"), "LANG": "C.UTF-8",
                   "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com",
                   "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.com"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, **more)
    if done.returncode != 0:
        raise AssertionError(f"{command}: status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def until(what: str, condition, seconds: float = FRESH + 0.5) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def renameat2(old: Path, new: Path, flags: int) -> int:
    if LIBC.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags) == 0:
        return 0
    return ctypes.get_errno()


class Case(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = RW / self._testMethodName
        self.host = HOST / self._testMethodName
        self.folder.mkdir()

    def refused(self, number: int, call, *arguments: object, **more: object) -> None:
        with self.assertRaises(OSError) as caught:
            call(*arguments, **more)
        self.assertEqual(caught.exception.errno, number, errno.errorcode.get(caught.exception.errno))


class Coherence(Case):
    def test_what_the_guest_writes_is_on_the_host_at_once(self) -> None:
        (self.folder / "a").write_text("one")
        self.assertEqual((self.host / "a").read_text(), "one")
        self.assertEqual((self.host / "a").stat().st_uid, USER)
        with open(self.folder / "a", "a") as file:
            file.write(" two")
            file.flush()
            self.assertEqual((self.host / "a").read_text(), "one two")

    def test_a_file_that_appears_on_the_host_is_seen_at_once(self) -> None:
        self.assertFalse((self.folder / "new").exists())
        (self.host / "new").write_text("here")
        self.assertEqual((self.folder / "new").read_text(), "here")

    def test_changes_of_the_host_are_seen_within_a_second(self) -> None:
        (self.host / "a").write_text("old")
        with open(self.folder / "a") as file:
            self.assertEqual(file.read(), "old")
            (self.host / "a").write_text("newer")
            until("the open file shows the new content", lambda: os.pread(file.fileno(), 99, 0) == b"newer")
        self.assertEqual((self.folder / "a").read_text(), "newer")
        (self.host / "a").rename(self.host / "b")
        until("the renamed file is gone", lambda: not (self.folder / "a").exists())
        self.assertEqual((self.folder / "b").read_text(), "newer")
        (self.host / "b").unlink()
        until("the removed file is gone", lambda: not (self.folder / "b").exists())

    def test_a_file_that_the_host_replaced_is_opened_anew(self) -> None:
        (self.host / "a").write_text("first")
        self.assertEqual((self.folder / "a").read_text(), "first")
        (self.host / "b").write_text("second")
        (self.host / "b").rename(self.host / "a")
        until("the new file is read", lambda: (self.folder / "a").read_text() == "second")


class Work(Case):
    def test_git_clones_and_commits(self) -> None:
        origin = BASE / "origin.git"
        run("git", "init", "-q", "--bare", "-b", "main", str(origin), cwd=BASE)
        run("git", "clone", "-q", str(origin), "repository", cwd=self.folder)
        repository = self.folder / "repository"
        for i in range(200):
            (repository / f"file{i}").write_text(f"{i}\n" * i)
        run("git", "add", ".", cwd=repository)
        run("git", "commit", "-q", "-m", "one", cwd=repository)
        run("git", "push", "-q", "origin", "HEAD:main", cwd=repository)
        (repository / "file7").write_text("changed\n")
        self.assertEqual(run("git", "status", "--porcelain", cwd=repository), " M file7\n")
        run("git", "commit", "-q", "-a", "-m", "two", cwd=repository)
        run("git", "gc", "-q", cwd=repository)
        run("git", "fsck", "--strict", cwd=repository)
        self.assertEqual(len(run("git", "log", "--oneline", cwd=repository).splitlines()), 2)

    def test_a_python_environment_is_made_and_used(self) -> None:
        run("/usr/bin/python3", "-m", "venv", "--without-pip", "venv", cwd=self.folder)
        said = run(str(self.folder / "venv/bin/python"), "-c", "import sys, json; print(sys.prefix)", cwd=self.folder)
        self.assertEqual(said.strip(), str(self.folder / "venv"))

    def test_make_builds_and_its_programs_and_libraries_run(self) -> None:
        names = [f"part{i}" for i in range(12)]
        for name in names:
            (self.folder / f"{name}.c").write_text(f"int {name}(void) {{ return 1; }}\n")
        calls = "".join(f"int {n}(void); " for n in names), " + ".join(f"{n}()" for n in names)
        (self.folder / "main.c").write_text(f"{calls[0]} int main(void) {{ return {calls[1]}; }}\n")
        objects = " ".join(f"{n}.o" for n in names)
        (self.folder / "Makefile").write_text(
            "program: main.o libparts.so\n\tcc -o $@ main.o -L. -lparts -Wl,-rpath,$(CURDIR)\n"
            f"libparts.so: {objects}\n\tcc -shared -o $@ $^\n%.o: %.c\n\tcc -fPIC -c -o $@ $<\n")
        run("make", "-j4", cwd=self.folder)
        self.assertEqual(subprocess.run([self.folder / "program"], check=False).returncode, len(names))
        self.assertEqual(run("make", cwd=self.folder).strip(), "make: 'program' is up to date.")

    def test_many_small_files_are_packed_and_unpacked(self) -> None:
        count = 50_000 if FULL else 5_000
        source = BASE / "many"
        for i in range(count):
            path = source / f"{i % 100:02}" / f"file{i}"
            if i < 100:
                path.parent.mkdir(parents=True)
            path.write_text(f"this is file {i}\n")
        run("tar", "cf", str(BASE / "many.tar"), "-C", str(BASE), "many", cwd=BASE)
        run("tar", "xf", str(BASE / "many.tar"), cwd=self.folder)
        run("diff", "-r", str(source), str(self.folder / "many"))
        self.assertEqual(sum(1 for path in (self.host / "many").rglob("file*")), count)
        shutil.rmtree(self.folder / "many")
        self.assertFalse((self.host / "many").exists())
        self.assertLess(status()["inodes"], 1000, "forgotten with the files")

    def test_a_directory_of_many_entries_is_listed_once_each(self) -> None:
        count = 100_000 if FULL else 10_000
        for i in range(count):
            (self.host / str(i)).touch()
        self.assertEqual(sorted(int(name) for name in os.listdir(self.folder)), list(range(count)))
        with os.scandir(self.folder) as entries:
            self.assertEqual(sum(1 for entry in entries if entry.stat().st_size == 0), count)
        shutil.rmtree(self.folder)


class Files(Case):
    def test_a_sparse_file_of_2_gib_stays_sparse(self) -> None:
        with open(self.folder / "sparse", "wb+", buffering=0) as file:
            file.truncate(2 << 30)
            os.pwrite(file.fileno(), b"x" * 4096, 1 << 30)
            os.pwrite(file.fileno(), b"end", (2 << 30) - 3)
            self.assertLess(os.fstat(file.fileno()).st_blocks, 256)
            self.assertEqual(os.lseek(file.fileno(), 0, os.SEEK_DATA), 1 << 30)
            self.assertEqual(os.lseek(file.fileno(), 1 << 30, os.SEEK_HOLE), (1 << 30) + 4096)
            self.assertEqual(os.pread(file.fileno(), 10, (2 << 30) - 3), b"end")
            os.posix_fallocate(file.fileno(), 0, 1 << 20)
            self.assertGreaterEqual(os.fstat(file.fileno()).st_blocks, 2048)
        self.assertEqual((self.host / "sparse").stat().st_size, 2 << 30)

    def test_mappings_shared_and_private(self) -> None:
        (self.folder / "map").write_bytes(b"a" * 10000)
        with open(self.folder / "map", "r+b") as file:
            with mmap.mmap(file.fileno(), 0) as shared, \
                    mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE) as private:
                shared[5000:5003] = b"xyz"
                private[0:3] = b"own"
                shared.flush()
                self.assertEqual((self.host / "map").read_bytes()[5000:5003], b"xyz")
                self.assertEqual((self.host / "map").read_bytes()[:3], b"aaa")
                self.assertEqual(private[0:3], b"own")

    def test_locks_hold_within_the_guest(self) -> None:
        with open(self.folder / "lock", "w") as one, open(self.folder / "lock", "w") as two:
            fcntl.flock(one, fcntl.LOCK_EX)
            self.refused(errno.EAGAIN, fcntl.flock, two, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(one, fcntl.LOCK_UN)
            fcntl.lockf(one, fcntl.LOCK_EX)
            child = os.fork()
            if child == 0:
                try:
                    with open(self.folder / "lock", "w") as third:
                        fcntl.lockf(third, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os._exit(1)
                except OSError:
                    os._exit(0)
            self.assertEqual(os.waitpid(child, 0)[1], 0)

    def test_renames_over_without_replacing_and_exchanging(self) -> None:
        one, two = self.folder / "one", self.folder / "two"
        one.write_text("1")
        two.write_text("2")
        self.assertEqual(renameat2(one, two, 1), errno.EEXIST)
        self.assertEqual(renameat2(one, two, 2), 0)
        self.assertEqual((one.read_text(), two.read_text()), ("2", "1"))
        self.assertEqual(renameat2(one, two, 4), errno.EINVAL)
        with open(two) as open_file:
            one.rename(two)
            self.assertEqual(two.read_text(), "2")
            self.assertEqual(open_file.read(), "1")
        (self.folder / "d1/d2").mkdir(parents=True)
        self.refused(errno.EINVAL, (self.folder / "d1").rename, self.folder / "d1/d2/d3")
        (self.folder / "d1/d2/file").write_text("x")
        (self.folder / "d1").rename(self.folder / "moved")
        self.assertEqual((self.folder / "moved/d2/file").read_text(), "x")
        self.refused(errno.ENOTEMPTY, (self.folder / "moved").rmdir)

    def test_an_open_file_outlives_its_name(self) -> None:
        with open(self.folder / "gone", "w+") as file:
            file.write("still here")
            file.flush()
            (self.folder / "gone").unlink()
            self.assertEqual(os.fstat(file.fileno()).st_nlink, 0)
            os.fchmod(file.fileno(), 0o600)
            os.ftruncate(file.fileno(), 5)
            self.assertEqual(os.pread(file.fileno(), 99, 0), b"still")
            with open(f"/proc/self/fd/{file.fileno()}") as again:
                self.assertEqual(again.read(), "still")

    def test_files_without_a_name_are_made_and_named(self) -> None:
        fd = os.open(self.folder, os.O_TMPFILE | os.O_RDWR, 0o640)
        os.write(fd, b"unnamed")
        self.assertEqual(os.listdir(self.folder), [])
        named = os.fsencode(self.folder / "named")
        follow = 0x400  # AT_SYMLINK_FOLLOW; os.link has no way to say so
        self.assertEqual(LIBC.linkat(-100, f"/proc/self/fd/{fd}".encode(), -100, named, follow), 0)
        os.close(fd)
        self.assertEqual((self.host / "named").read_text(), "unnamed")

    def test_appends_of_two_writers_lose_nothing(self) -> None:
        (self.folder / "log").touch()

        def append(word: str) -> None:
            with open(self.folder / "log", "a") as file:
                for i in range(500):
                    file.write(f"{word}{i}\n")
                    file.flush()

        writers = [multiprocessing.Process(target=append, args=(word,)) for word in "ab"]
        for writer in writers:
            writer.start()
        with open(self.host / "log", "a") as file:  # and of the host
            for i in range(500):
                file.write(f"h{i}\n")
                file.flush()
        for writer in writers:
            writer.join(60)
        lines = (self.host / "log").read_text().splitlines()
        self.assertEqual(sorted(lines), sorted(f"{word}{i}" for word in "abh" for i in range(500)))

    def test_big_blocks_arrive_whole(self) -> None:
        data = os.urandom(5 * 1024 * 1024 + 123)
        (self.folder / "big").write_bytes(data)
        self.assertEqual((self.host / "big").read_bytes(), data)
        run("sync", "-f", str(self.folder / "big"))
        self.assertEqual((self.folder / "big").read_bytes(), data)
        run("cp", "--reflink=never", str(self.folder / "big"), str(self.folder / "copy"))
        run("cmp", str(self.folder / "big"), str(self.host / "copy"))
        with open(self.folder / "big", "rb") as source, open(self.folder / "range", "wb") as target:
            self.assertEqual(os.copy_file_range(source.fileno(), target.fileno(), 1 << 20, 10), 1 << 20)
        self.assertEqual((self.host / "range").read_bytes(), data[10:10 + (1 << 20)])

    def test_names_up_to_255_bytes_and_of_any_bytes(self) -> None:
        for name in (b"n" * 255, "käse 🧀".encode(), b"new\nline", b"\xff\xfe", b"-rf", b"...", b" "):
            path = os.path.join(os.fsencode(self.folder), name)
            with open(path, "wb") as file:
                file.write(name)
            self.assertIn(name, os.listdir(os.fsencode(self.host)))
            os.unlink(path)
        self.refused(errno.ENAMETOOLONG, (self.folder / ("n" * 256)).touch)

    def test_symbolic_links_are_the_guests_to_follow(self) -> None:
        (self.folder / "passwd").symlink_to("/etc/passwd")
        self.assertEqual(os.readlink(self.host / "passwd"), "/etc/passwd")
        (self.folder / "loop").symlink_to("loop")
        self.refused(errno.ELOOP, (self.folder / "loop").read_text)
        os.utime(self.folder / "loop", (5, 5), follow_symlinks=False)
        self.assertEqual(os.lstat(self.folder / "loop").st_mtime, 5)

    def test_times_and_modes_are_kept(self) -> None:
        file = self.folder / "file"
        file.touch()
        os.utime(file, ns=(1_000_000_001, 2_000_000_002))
        self.assertEqual(file.stat().st_mtime_ns, 2_000_000_002)
        for mode in (0o600, 0o755, 0o444, 0o000):
            file.chmod(mode)
            self.assertEqual(stat.S_IMODE((self.host / "file").stat().st_mode), mode)
        file.chmod(0o644)


class Differences(Case):
    """Each a line of doc/mounts.md."""

    def test_everything_is_roots_and_can_be_given_to_nobody_else(self) -> None:
        file = self.folder / "file"
        file.touch()
        self.assertEqual((file.stat().st_uid, file.stat().st_gid), (0, 0))
        os.chown(file, 0, 0)
        self.refused(errno.EPERM, os.chown, file, 1000, 1000)
        (self.host / "other").touch()
        os.chown(self.host / "other", 1, 1)
        self.assertEqual((self.folder / "other").stat().st_uid, 65534)

    def test_the_guests_root_has_the_rights_of_the_owner(self) -> None:
        (self.host / "secret").touch()
        os.chown(self.host / "secret", 0, 0)
        os.chmod(self.host / "secret", 0o600)
        self.refused(errno.EACCES, (self.folder / "secret").read_text)

    def test_set_id_bits_of_files_are_dropped(self) -> None:
        file = self.folder / "file"
        file.touch()
        file.chmod(0o6755)
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o755)
        os.close(os.open(self.folder / "new", os.O_CREAT | os.O_RDWR, 0o4755))
        self.assertEqual(stat.S_IMODE((self.host / "new").stat().st_mode) & 0o6000, 0)
        (self.host / "suid").touch()
        os.chown(self.host / "suid", USER, USER)
        (self.host / "suid").chmod(0o4755)
        with open(self.folder / "suid", "w") as written:
            written.write("x")
        self.assertEqual(stat.S_IMODE((self.host / "suid").stat().st_mode), 0o755)

    def test_no_device_nodes_fifos_and_sockets_are_made(self) -> None:
        self.refused(errno.EPERM, os.mkfifo, self.folder / "fifo")
        self.refused(errno.EPERM, os.mknod, self.folder / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        with socket.socket(socket.AF_UNIX) as listener:
            os.chdir(self.folder)
            try:
                self.refused(errno.EPERM, listener.bind, "socket")
            finally:
                os.chdir("/")

    def test_special_files_of_the_host_are_shown_and_lead_nowhere(self) -> None:
        os.mkfifo(self.host / "fifo")
        os.mknod(self.host / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        self.assertTrue(stat.S_ISFIFO((self.folder / "fifo").stat().st_mode))
        self.assertEqual((self.folder / "null").stat().st_rdev, 0)
        self.refused(errno.EACCES, os.open, self.folder / "null", os.O_RDONLY)

    def test_there_are_no_extended_attributes(self) -> None:
        file = self.folder / "file"
        file.touch()
        for name in ("user.a", "trusted.a"):
            self.refused(errno.EOPNOTSUPP, os.setxattr, file, name, b"x")
            self.refused(errno.EOPNOTSUPP, os.getxattr, file, name)
        capability = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service=ep
        self.refused(errno.EOPNOTSUPP, os.setxattr, file, "security.capability", capability)
        self.assertEqual(os.listxattr(self.host / "file"), [])

    def test_nothing_is_renamed_or_linked_between_mounts(self) -> None:
        (self.folder / "file").touch()
        os.chmod(HOST_RO, 0o755)
        self.assertIn(renameat2(self.folder / "file", RO / "file", 0), (errno.EXDEV, errno.EROFS))
        with self.assertRaises(OSError):
            os.link(self.folder / "file", RO / "file")

    def test_what_is_mounted_below_a_directory_is_not_part_of_it(self) -> None:
        below = self.host / "below"
        below.mkdir()
        os.chown(below, USER, USER)
        run("mount", "-t", "tmpfs", "none", str(below))
        try:
            (below / "hidden").touch()
            self.assertEqual(os.listdir(self.folder / "below"), [])
        finally:
            run("umount", str(below))


class ReadOnly(unittest.TestCase):
    def test_each_way_to_change_something_is_refused(self) -> None:
        file, folder, new = RO / "file", RO / "folder", RO / "new"
        tries = [
            lambda: file.write_text("x"), lambda: open(file, "a"), lambda: os.open(file, os.O_RDONLY | os.O_TRUNC),
            lambda: new.touch(), lambda: new.mkdir(), lambda: new.symlink_to("x"), lambda: os.link(file, new),
            lambda: file.unlink(), lambda: folder.rmdir(), lambda: file.rename(new), lambda: file.chmod(0o777),
            lambda: os.utime(file), lambda: os.truncate(file, 0), lambda: os.open(RO, os.O_TMPFILE | os.O_RDWR),
            lambda: os.mknod(new), lambda: file.touch(),
        ]
        for i, one in enumerate(tries):
            with self.subTest(i), self.assertRaises(OSError) as caught:
                one()
            self.assertEqual(caught.exception.errno, errno.EROFS)
        self.assertEqual(file.read_text(), "fixed\n")
        self.assertEqual(sorted(os.listdir(HOST_RO)), ["file", "folder"])


class Life(Case):
    def test_mounts_come_and_go_while_the_server_runs(self) -> None:
        other = BASE / "other"
        other.mkdir()
        (other / "a").write_text("a")
        os.chown(other, USER, USER)
        for _ in range(3):
            self.assertEqual(ask(f"attach 7 {other} rw"), "ok")
            self.assertEqual((MOUNT / "7/a").read_text(), "a")
            self.assertEqual(sorted(os.listdir(MOUNT)), ["0", "1", "7"])
            with open(MOUNT / "7/a") as held:
                self.assertEqual(ask("detach 7"), "ok")
                self.assertFalse((MOUNT / "7").exists())
                os.posix_fadvise(held.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                self.refused(errno.ESTALE, os.pread, held.fileno(), 1, 0)
        self.assertIn("mount_owner", ask("attach 8 /etc ro"))
        self.assertIn("not_found", ask("attach 8 /nonexistent ro"))
        self.assertIn("no_such_mount", ask("detach 8"))

    def test_a_server_that_was_stopped_goes_on_where_it_was(self) -> None:
        (self.folder / "file").write_text("x")
        pid = int(ask("pid"))
        os.kill(pid, signal.SIGSTOP)
        reader = subprocess.Popen(["/bin/cat", self.folder / "file", self.host / "file"], stdout=subprocess.PIPE)
        time.sleep(0.5)
        os.kill(pid, signal.SIGCONT)
        self.assertEqual(reader.communicate(timeout=10)[0], b"xx")

    def test_a_file_system_that_stalls_keeps_nobody_from_asking_the_server(self) -> None:
        disk, other = BASE / "disk", BASE / "second"
        for folder in (disk, other):
            folder.mkdir()
        with open(BASE / "disk.ext4", "wb") as file:
            file.truncate(32 << 20)
        run("mkfs.ext4", "-q", "-F", str(BASE / "disk.ext4"), cwd=BASE)
        run("mount", "-o", "loop", str(BASE / "disk.ext4"), str(disk), cwd=BASE)
        try:
            for folder in (disk, other):
                os.chown(folder, USER, USER)
            self.assertEqual(ask(f"attach 5 {disk} rw"), "ok")
            run("fsfreeze", "-f", str(disk), cwd=BASE)
            try:
                writer = subprocess.Popen(["/usr/bin/touch", MOUNT / "5/file"])
                until("the server waits", lambda: status()["busy"] == 1)
                served = status()["served"]
                self.assertEqual(ask(f"attach 6 {other} rw"), "ok")
                self.assertEqual(ask("detach 6"), "ok")
                self.assertEqual((status()["busy"], status()["served"]), (1, served))
                self.assertIsNone(writer.poll())
            finally:
                run("fsfreeze", "-u", str(disk), cwd=BASE)
            self.assertEqual(writer.wait(10), 0)
            self.assertTrue((disk / "file").exists())
            self.assertEqual(ask("detach 5"), "ok")
            until("its file system is let go", lambda: subprocess.run(["umount", disk], check=False).returncode == 0)
        finally:
            subprocess.run(["umount", "-l", disk], stderr=subprocess.DEVNULL, check=False)

    def test_an_idle_server_is_small(self) -> None:
        (self.folder / "big").write_bytes(bytes(4 << 20))
        self.assertEqual(len((self.folder / "big").read_bytes()), 4 << 20)
        pid = int(ask("pid"))

        def resident() -> int:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))

        print(f"fsd: {resident()} KiB resident after use", file=sys.stderr)
        until("it gave its buffers back", lambda: resident() <= 4096 + status()["inodes"], 5)
        print(f"fsd: {resident()} KiB resident idle", file=sys.stderr)


class Zz_Death(unittest.TestCase):
    """Last: nothing is served afterwards."""

    def test_a_server_that_is_killed_ends_what_waits_for_it_at_once(self) -> None:
        with open(HOST / "huge", "wb") as file:
            file.truncate(1 << 40)
        reader = subprocess.Popen(["/bin/cat", RW / "huge"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        time.sleep(0.5)
        self.assertIsNone(reader.poll())
        os.kill(int(ask("pid")), signal.SIGKILL)
        _, said = reader.communicate(timeout=5)
        self.assertNotEqual(reader.returncode, 0)
        self.assertRegex(said.decode(), "not connected|aborted|Input/output")
        with self.assertRaises(OSError):
            os.stat(RW / "file")
        self.assertEqual(ask("status"), "fsd_gone")


def start_relay(build: Path) -> int:
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        print("skipped: takes root and a kernel with FUSE")
        return 77
    with tempfile.TemporaryDirectory(prefix="sandforge-mounts-") as name:
        base = Path(name)
        for folder in ("rw", "ro/folder", "mount", "home"):
            (base / folder).mkdir(parents=True)
        (base / "ro/file").write_text("fixed\n")
        for path in (base / "rw", base / "ro", base / "ro/folder", base / "ro/file"):
            os.chown(path, USER, USER)
        environment = {**os.environ, "SANDFORGE_FSD_BASE": name}
        command = [build / "test/fsd/fsd-relay", build / "libsandforge/fsd", base / "mount", f"{USER}:{USER}",
                   base / "rw", f"{base / 'ro'}:ro", "--", "/usr/bin/python3", os.path.abspath(__file__), *sys.argv[1:]]
        return subprocess.run(list(map(str, command)), env=environment, check=False).returncode


if __name__ == "__main__":
    if "SANDFORGE_FSD_BASE" not in os.environ:
        if "--full" in sys.argv:
            os.environ["SANDFORGE_FSD_FULL"] = "1"
            sys.argv.remove("--full")
        sys.exit(start_relay(Path(sys.argv[1]).resolve()))
    os.umask(0o022)
    for source, target in ((MOUNT / "0", RW), (MOUNT / "1", RO)):
        target.mkdir()
        run("mount", "--bind", str(source), str(target), cwd=BASE)
    del sys.argv[1]
    unittest.main()
