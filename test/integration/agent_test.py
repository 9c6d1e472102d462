# SPDX-License-Identifier: Apache-2.0
"""The agent without a virtual machine: commands, files and a hostile peer. Exits 77 with a reason where it cannot run.

usage: agent_test.py path/to/sandforge-agent [unittest arguments]
"""
import errno
import hashlib
import os
import signal
import stat
import struct
import sys
import time
import unittest

import agent_driver as wire
from agent_sandbox import AgentProcess, Unavailable

BINARY = ""
MIB = 1024 * 1024


def processes_with(marker):
    """Processes of this machine, those in other PID namespaces included, with this text on their command line."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                command = file.read()
        except OSError:
            continue
        if marker.encode() in command and int(name) != os.getpid():
            found.append(int(name))
    return found


class AgentCase(unittest.TestCase):
    """Each class of tests has an agent of its own."""

    @classmethod
    def setUpClass(cls):
        cls.agent = AgentProcess(BINARY)
        cls.connection = cls.agent.connection
        cls.connection.welcome(hostname="testbox", machine_id="0123456789abcdef" * 2)

    @classmethod
    def tearDownClass(cls):
        cls.agent.close()

    def run_command(self, *argv, **options):
        return self.connection.exec(list(argv), **options).exec_result()

    def shell(self, script, **options):
        return self.run_command("sh", "-c", script, **options)


class ExecTest(AgentCase):
    def test_output_and_exit_code_come_back(self):
        result = self.shell("echo out; echo err >&2; exit 3")
        self.assertEqual((result["ended_by"], result["exit_code"]), ("exit", 3))
        self.assertEqual((result["stdout"], result["stderr"]), (b"out\n", b"err\n"))
        self.assertEqual((result["stdout_total"], result["stderr_total"]), (4, 4))
        self.assertGreater(result["wall_ns"], 0)

    def test_started_tells_a_pid_before_any_data(self):
        stream = self.connection.exec(["echo", "x"])
        stream.exec_result()
        self.assertGreater(struct.unpack("<I", stream.meta)[0], 1)

    def test_process_isolation_runs_too(self):
        result = self.shell("echo $$; exit 4", isolation=wire.PROCESS)
        self.assertEqual(result["exit_code"], 4)
        self.assertGreater(int(result["stdout"]), 1)

    def test_stdin_is_echoed_at_any_size(self):
        payload = os.urandom(3 * MIB)
        stream = self.connection.exec(["cat"], stdin=True)
        stream.data(payload)
        stream.end()
        result = stream.exec_result()
        self.assertEqual(hashlib.sha256(result["stdout"]).digest(), hashlib.sha256(payload).digest())

    def test_stdin_that_nobody_reads_does_not_stall_the_host(self):
        stream = self.connection.exec(["sh", "-c", "exec <&-; echo closed; sleep 0.2"], stdin=True)
        stream.data(bytes(2 * MIB))
        stream.end()
        self.assertEqual(stream.exec_result()["exit_code"], 0)

    def test_stdin_is_empty_unless_streamed(self):
        self.assertEqual(self.shell("wc -c")["stdout"].strip(), b"0")

    def test_big_output_waits_for_a_slow_reader_and_loses_nothing(self):
        stream = self.connection.exec(["head", "-c", str(4 * MIB), "/dev/zero"])
        stream.auto_credit = False
        self.connection.until(lambda: stream.total[wire.STDOUT] == wire.WINDOW)
        other = self.run_command("echo", "not blocked")
        self.assertEqual(other["stdout"], b"not blocked\n")
        self.assertEqual(stream.total[wire.STDOUT], wire.WINDOW)
        self.assertIsNone(stream.result)
        stream.auto_credit = True
        self.connection.give(stream, wire.STDOUT)
        result = stream.exec_result()
        self.assertEqual((len(result["stdout"]), result["stdout_total"]), (4 * MIB, 4 * MIB))

    def test_output_left_in_the_pipe_survives_the_end_of_the_command(self):
        stream = self.connection.exec(["head", "-c", str(wire.WINDOW + 60000), "/dev/zero"])
        stream.auto_credit = False
        self.connection.until(lambda: stream.total[wire.STDOUT] == wire.WINDOW)
        time.sleep(0.2)  # the command has written its last bytes into the pipe and is gone
        stream.auto_credit = True
        self.connection.give(stream, wire.STDOUT)
        self.assertEqual(stream.exec_result()["stdout_total"], wire.WINDOW + 60000)

    def test_a_signal_has_its_default_action(self):
        for isolation in (wire.CONTAINER, wire.PROCESS):
            stream = self.connection.exec(["sleep", "1000"], isolation=isolation)
            stream.signal(signal.SIGTERM)  # as early as can be: kept until the command runs
            result = stream.exec_result()
            self.assertEqual((result["ended_by"], result["signal"], result["exit_code"]), ("signal", 15, 143))

    def test_a_signal_can_be_caught(self):
        stream = self.connection.exec(["sh", "-c", "trap 'echo got; exit 5' USR1; echo ready; while :; do sleep 0.02; done"])
        self.connection.until(lambda: stream.out[wire.STDOUT] == b"ready\n")
        stream.signal(signal.SIGUSR1)
        result = stream.exec_result()
        self.assertEqual((result["exit_code"], result["stdout"]), (5, b"ready\ngot\n"))

    def test_a_timeout_ends_double_forked_children(self):
        for isolation in (wire.CONTAINER, wire.PROCESS):
            marker = f"987{isolation}1.25"
            script = f"trap '' TERM INT HUP; (setsid sleep {marker} &) ; echo partial; sleep {marker}"
            started = time.monotonic()
            result = self.shell(script, timeout_ms=500, isolation=isolation)
            self.assertEqual((result["ended_by"], result["exit_code"]), ("timeout", 124))
            self.assertEqual(result["stdout"], b"partial\n")
            self.assertLess(time.monotonic() - started, 20)
            self.assertEqual(processes_with(marker), [])

    def test_a_stopped_command_times_out(self):
        result = self.shell("kill -STOP $$", timeout_ms=300)
        self.assertEqual(result["ended_by"], "timeout")

    def test_the_end_of_the_command_ends_children_that_hold_its_pipes(self):
        for isolation in (wire.CONTAINER, wire.PROCESS):
            marker = f"987{isolation}2.25"
            result = self.shell(f"setsid sleep {marker} & echo done", isolation=isolation)
            self.assertEqual((result["exit_code"], result["stdout"]), (0, b"done\n"))
            self.assertEqual(processes_with(marker), [])

    def test_cancel_kills_the_tree(self):
        marker = "9873.25"
        stream = self.connection.exec(["sh", "-c", f"setsid sleep {marker} & echo up; wait"])
        self.connection.until(lambda: stream.out[wire.STDOUT] == b"up\n")
        stream.cancel()
        self.assertEqual(stream.exec_result()["ended_by"], "killed")
        self.assertEqual(processes_with(marker), [])

    def test_output_that_the_command_closed_is_ended_at_once(self):
        stream = self.connection.exec(["sh", "-c", "exec >&-; sleep 1000"])
        self.connection.until(lambda: wire.STDOUT in stream.ended)
        self.assertIsNone(stream.result)
        stream.cancel()
        stream.wait()

    def test_what_cannot_be_started_says_why(self):
        cases = [
            (["no-such-program"], {}, 127, 'cannot run "no-such-program": No such file or directory'),
            (["/etc/passwd"], {}, 126, 'cannot run "/etc/passwd": Permission denied'),
            (["/tmp"], {}, 126, 'cannot run "/tmp": Permission denied'),
            (["true"], {"cwd": "/no/such"}, 126, 'cannot change to directory "/no/such": No such file or directory'),
            (["true"], {"env": ["PATH=/nowhere"]}, 127, 'cannot run "true": No such file or directory'),
        ]
        for argv, options, exit_code, reason in cases:
            for isolation in (wire.CONTAINER, wire.PROCESS):
                stream = self.connection.exec(argv, isolation=isolation, **options)
                result = stream.exec_result()
                self.assertEqual((result["ended_by"], result["exit_code"]), ("exit", exit_code))
                self.assertEqual(result["reason"], reason)
                self.assertEqual(result["stderr"].decode(), reason + "\n")
                self.assertIsNone(stream.meta)

    def test_a_bad_request_is_refused_before_anything_runs(self):
        for argv, options in (([], {}), ([""], {}), (["a\0b"], {}), (["a"], {"env": ["novalue"]}), (["a"], {"cwd": "rel"})):
            with self.assertRaises(wire.AgentError) as caught:
                self.connection.exec(argv, **options).wait()
            self.assertEqual(caught.exception.code, "invalid_argument")
        with self.assertRaises(wire.AgentError) as caught:
            self.connection.exec(["true"], user="nobody-has-this-name").wait()
        self.assertEqual(caught.exception.code, "not_found")

    def test_the_environment_is_the_defaults_and_what_was_asked(self):
        result = self.run_command("env", env=["A=1", "LANG=C", "A=2"])
        values = dict(line.split("=", 1) for line in result["stdout"].decode().splitlines())
        self.assertEqual(values, {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
                                  "LANG": "C", "A": "2"})

    def test_user_and_directory_are_honoured(self):
        result = self.shell("id -un; id -u; pwd; echo $HOME; umask; ulimit -c", user="nobody", cwd="/usr/bin")
        self.assertEqual(result["stdout"].decode().split()[:3], ["nobody", "65534", "/usr/bin"])
        self.assertEqual(result["stdout"].decode().split()[4:], ["0022", "0"])
        self.assertEqual(self.shell("id -u; id -g", user="4321")["stdout"].split(), [b"4321", b"4321"])

    def test_a_container_sees_itself_alone(self):
        other = self.connection.exec(["sleep", "1000"])
        pids = self.shell("ls /proc | grep -c '^[0-9]'; echo $$; readlink /proc/1/exe; cat /proc/1/environ | wc -c")
        lines = pids["stdout"].decode().split()
        self.assertLessEqual(int(lines[0]), 5)
        self.assertEqual(lines[1:], ["2", "0"])  # no link to the agent's program, no look into its memory
        other.cancel()
        other.wait()

    def test_a_container_is_bounded(self):
        status = self.shell("cat /proc/self/status")["stdout"].decode()
        values = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        self.assertEqual(values["CapEff"], "00000000a80425fb")
        self.assertEqual(values["CapBnd"], "00000000a80425fb")
        self.assertEqual(values["CapInh"], "0000000000000000")
        self.assertEqual((values["NoNewPrivs"], values["Seccomp"]), ("1", "2"))
        for command in ("mount -t tmpfs x /mnt", "umount /proc", "unshare -U true", "unshare -m true", "hostname other",
                        "mount -o remount,rw /proc/sys", "echo x > /proc/sys/kernel/core_pattern", "date -s @1"):
            self.assertNotEqual(self.shell(command)["exit_code"], 0, command)

    def test_a_user_of_a_container_has_no_capabilities(self):
        status = self.shell("grep Cap /proc/self/status", user="nobody")["stdout"].decode()
        values = dict(line.split(":\t", 1) for line in status.splitlines())
        self.assertEqual((values["CapEff"], values["CapPrm"]), ("0" * 16, "0" * 16))

    def test_no_descriptor_of_the_agent_reaches_a_command(self):
        for isolation in (wire.CONTAINER, wire.PROCESS):
            result = self.run_command("python3", "-c", "import os; print(sorted(map(int, os.listdir('/proc/self/fd')))[:-1])",
                                      isolation=isolation)
            self.assertEqual(result["stdout"], b"[0, 1, 2]\n")

    def test_the_command_has_a_session_and_default_signals(self):
        script = "import os, signal; print(os.getsid(0) == os.getpid(), signal.pthread_sigmask(signal.SIG_BLOCK, []))"
        self.assertEqual(self.run_command("python3", "-c", script)["stdout"], b"True set()\n")
        ignored = self.shell("grep SigIgn /proc/self/status")["stdout"].split()[1]
        self.assertEqual(int(ignored, 16), 0)

    def test_file_changes_persist_between_tasks(self):
        self.shell("echo kept > /root/kept; echo kept > /tmp/kept")
        self.assertEqual(self.shell("cat /root/kept /tmp/kept")["stdout"], b"kept\nkept\n")

    def test_many_commands_at_once_all_answer(self):
        streams = [self.connection.exec(["sh", "-c", f"echo {i}; exit {i % 100}"]) for i in range(60)]
        for i, stream in enumerate(streams):
            result = stream.exec_result()
            self.assertEqual((result["exit_code"], result["stdout"]), (i % 100, f"{i}\n".encode()))

    def test_nothing_accumulates_over_many_commands(self):
        def state():
            fds = len(os.listdir(f"/proc/{pid}/fd"))
            groups = len(os.listdir(os.path.join(self.agent.cgroup, "tasks"))) if self.agent.cgroup else 0
            return fds, groups

        pid = self.agent.agent_pid()
        self.run_command("true")
        self.connection.exec(["true"], user="nobody").wait()
        time.sleep(0.1)
        before = state()
        for i in range(100):
            self.run_command("true", isolation=i % 2)
        time.sleep(0.1)
        self.assertEqual(state(), before)

    def test_a_limit_is_enforced_or_refused(self):
        controllers = self.agent.controllers()
        options = {"memory": {"memory_max": 64 * MIB}, "pids": {"pids_max": 8}, "cpu": {"cpu_max_milli": 500}}
        for controller, option in options.items():
            stream = self.connection.exec(["true"], **option)
            if controller in controllers:
                self.assertEqual(stream.exec_result()["exit_code"], 0)
                continue
            with self.assertRaises(wire.AgentError) as caught:
                stream.wait()
            self.assertEqual(caught.exception.code, "unsupported")

    def test_the_memory_killer_is_named(self):
        if "memory" not in self.agent.controllers():
            self.skipTest("no memory controller of cgroup2 here")
        result = self.run_command("python3", "-c", "x = b'x' * 200_000_000", memory_max=64 * MIB)
        self.assertEqual((result["ended_by"], result["exit_code"]), ("oom", 137))

    def test_identity_is_written(self):
        self.assertEqual(self.shell("cat /etc/hostname; cat /etc/machine-id")["stdout"].split(),
                         [b"testbox", b"0123456789abcdef" * 2])
        self.assertIn(b"127.0.1.1\ttestbox\n", self.shell("cat /etc/hosts")["stdout"])


class FileTest(AgentCase):
    def put(self, path, payload, **options):
        stream = self.connection.write(path, **options)
        stream.data(payload)
        stream.end()
        return wire.file_info(stream.wait())

    def get(self, path, **options):
        stream = self.connection.read(path, **options)
        stream.wait()
        self.assertIn(wire.CONTENT, stream.ended)
        return bytes(stream.out[wire.CONTENT])

    def stat(self, path):
        return wire.file_info(self.connection.path(wire.STAT, path).wait())

    def refused(self, stream, code, number=None):
        with self.assertRaises(wire.AgentError) as caught:
            stream.wait()
        self.assertEqual(caught.exception.code, code)
        if number is not None:
            self.assertEqual(caught.exception.errno, number)

    def test_a_file_comes_back_as_it_was_written(self):
        for size in (0, 1, 65536, 5 * MIB + 17):
            payload = os.urandom(size)
            info = self.put("/root/made/parents/file.bin", payload)
            self.assertEqual((info["name"], info["length"]), (b"file.bin", size))
            self.assertEqual(self.get("/root/made/parents/file.bin"), payload)
        self.assertEqual(list(self.connection.list("/root/made/parents")), ["file.bin"])

    def test_a_slow_reader_of_a_file_is_waited_for(self):
        self.put("/root/slow", bytes(MIB))
        stream = self.connection.read("/root/slow")
        stream.auto_credit = False
        self.connection.until(lambda: stream.total[wire.CONTENT] == wire.WINDOW)
        self.assertEqual(self.stat("/root/slow")["length"], MIB)
        self.assertEqual(stream.total[wire.CONTENT], wire.WINDOW)
        stream.auto_credit = True
        self.connection.give(stream, wire.CONTENT)
        stream.wait()
        self.assertEqual(stream.total[wire.CONTENT], MIB)

    def test_a_range_is_read(self):
        self.put("/root/range", b"0123456789")
        self.assertEqual(self.get("/root/range", offset=3, length=4), b"3456")
        self.assertEqual(self.get("/root/range", offset=8), b"89")
        self.assertEqual(self.get("/root/range", offset=2**63), b"")

    def test_meta_tells_about_the_file(self):
        self.put("/root/meta", b"abc", mode=0o640)
        stream = self.connection.read("/root/meta")
        stream.wait()
        info = wire.file_info(stream.meta)
        self.assertEqual((info["length"], stat.S_IMODE(info["mode"]), info["uid"]), (3, 0o640, 0))

    def test_mode_is_kept_given_or_default(self):
        self.assertEqual(stat.S_IMODE(self.put("/root/mode", b"")["mode"]), 0o644)
        self.assertEqual(stat.S_IMODE(self.put("/root/mode", b"", mode=0o755)["mode"]), 0o755)
        self.assertEqual(stat.S_IMODE(self.put("/root/mode", b"x")["mode"]), 0o755)

    def test_files_of_proc_can_be_read(self):
        self.assertIn(b"MemTotal", self.get("/proc/meminfo"))

    def test_a_write_appears_only_when_it_is_finished(self):
        self.put("/root/atomic/file", b"old")
        stream = self.connection.write("/root/atomic/file")
        stream.data(b"new, but not all of it")
        self.assertEqual(self.get("/root/atomic/file"), b"old")
        stream.cancel()
        self.refused(stream, "conflict")
        self.assertEqual(self.get("/root/atomic/file"), b"old")
        self.assertEqual(list(self.connection.list("/root/atomic")), ["file"])

    def test_a_write_goes_through_a_symlink(self):
        self.run_command("sh", "-c", "mkdir -p /root/links/there; cd /root/links; ln -s there/target link; ln -s /root/links/link far;"
                         "ln -s loop loop")
        self.put("/root/links/far", b"through")
        self.assertEqual(self.get("/root/links/there/target"), b"through")
        entries = self.connection.list("/root/links")
        self.assertEqual(entries["link"]["link"], b"there/target")
        self.assertTrue(stat.S_ISLNK(entries["link"]["mode"]))
        self.refused(self.connection.write("/root/links/loop"), "conflict", errno.ELOOP)

    def test_symlinks_do_not_lead_out_of_the_root(self):
        # Beside the root lie the tests' own directories; from inside, `..` ends at the root.
        self.run_command("sh", "-c", "ln -sfn ../../../../../../../../scratch /root/up; ln -sfn /proc/1/root /root/magic")
        self.refused(self.connection.path(wire.STAT, "/root/up/upper"), "not_found")
        self.refused(self.connection.path(wire.STAT, "/root/magic/"), "conflict", errno.ELOOP)
        self.assertEqual(self.stat("/../../etc/passwd"), self.stat("/etc/passwd"))

    def test_what_is_not_a_file_is_refused(self):
        self.run_command("mkfifo", "/root/fifo")
        for path in ("/root/fifo", "/dev/zero"):
            self.refused(self.connection.read(path), "conflict")
            self.refused(self.connection.write(path), "conflict")
        self.refused(self.connection.read("/root"), "conflict", errno.EISDIR)
        self.refused(self.connection.write("/root"), "conflict", errno.EISDIR)
        self.refused(self.connection.read("/no/such"), "not_found", errno.ENOENT)
        for path in ("", "relative", "/nul\0", "/" + "a/" * 2047 + "a"):
            self.refused(self.connection.read(path), "invalid_argument")

    def test_a_full_disk_is_an_error_and_leaves_nothing(self):
        self.run_command("sh", "-c", "mkdir -p /root/full && mount -t tmpfs -o size=256k full /root/full", isolation=wire.PROCESS)
        stream = self.connection.write("/root/full/big")
        stream.data(bytes(2 * MIB))
        stream.end()
        self.refused(stream, "exhausted", errno.ENOSPC)
        self.assertEqual(self.connection.list("/root/full"), {})

    def test_a_directory_is_listed_whole(self):
        self.run_command("sh", "-c", "mkdir -p /root/many; cd /root/many; seq -f 'a-rather-long-name-for-a-file-%g' 3000 | xargs touch")
        entries = self.connection.list("/root/many")
        self.assertEqual(len(entries), 3000)
        self.assertIn("a-rather-long-name-for-a-file-3000", entries)
        self.refused(self.connection.path(wire.LIST, "/etc/passwd"), "conflict", errno.ENOTDIR)
        self.assertEqual(self.connection.path(wire.LIST, "/").wait(), b"")

    def test_rename_remove_and_make_directory(self):
        self.connection.path(wire.MKDIR, "/root/dir/a/b", flag=1).wait()
        self.connection.path(wire.MKDIR, "/root/dir/a/b", flag=1).wait()
        self.refused(self.connection.path(wire.MKDIR, "/root/dir/a/b"), "conflict", errno.EEXIST)
        self.connection.path(wire.MKDIR, "/root/dir/c", mode=0o700).wait()
        self.assertEqual(stat.S_IMODE(self.stat("/root/dir/c")["mode"]), 0o700)
        self.put("/root/dir/a/b/file", b"x")
        self.connection.rename("/root/dir/a/b/file", "/root/dir/c/renamed").wait()
        self.assertEqual(self.get("/root/dir/c/renamed"), b"x")
        self.refused(self.connection.path(wire.REMOVE, "/root/dir"), "conflict", errno.ENOTEMPTY)
        self.run_command("sh", "-c", "ln -s /etc /root/dir/etc; ln -s / /root/dir/a/b/rootlink")
        self.connection.path(wire.REMOVE, "/root/dir", flag=1).wait()
        self.refused(self.connection.path(wire.STAT, "/root/dir"), "not_found", errno.ENOENT)
        self.assertGreater(self.stat("/etc/passwd")["length"], 0)
        self.refused(self.connection.path(wire.REMOVE, "/", flag=1), "invalid_argument")
        self.refused(self.connection.path(wire.REMOVE, "/root/none"), "not_found")

    def test_many_files_at_once(self):
        streams = [self.connection.write(f"/root/parallel/{i}") for i in range(64)]
        for i, stream in enumerate(streams):
            stream.data(str(i).encode() * 1000)
        for stream in streams:
            stream.end()
        for stream in streams:
            stream.wait()
        self.assertEqual(len(self.connection.list("/root/parallel")), 64)

    def test_the_machine_is_not_the_agents_to_change(self):
        self.refused(self.connection.open(wire.CLOCK, struct.pack("<q", 1)), "unsupported")
        self.refused(self.connection.open(wire.ENTROPY, wire.text(b"x")), "unsupported")
        self.refused(self.connection.open(wire.IDENTITY, wire.text("bad/name") + wire.text("")), "invalid_argument")


class HostilePeerTest(unittest.TestCase):
    def closes(self, talk, welcome=True):
        with AgentProcess(BINARY) as agent:
            if welcome:
                agent.connection.welcome()
            talk(agent.connection)
            agent.connection.until(lambda: agent.connection.closed, 20)
            self.assertEqual(agent.process.wait(20), 0)

    def test_a_frame_before_welcome_closes(self):
        self.closes(lambda c: c.exec(["true"]), welcome=False)

    def test_garbage_closes(self):
        self.closes(lambda c: c.raw(b"GET / HTTP/1.1\r\n\r\n"), welcome=False)

    def test_another_version_closes(self):
        self.closes(lambda c: c.welcome(version=99), welcome=False)

    def test_an_oversized_frame_closes(self):
        self.closes(lambda c: c.raw(struct.pack("<IBBHI", 2**31, wire.DATA, 0, 0, 1)))

    def test_a_malformed_request_closes(self):
        self.closes(lambda c: c.open(wire.EXEC, b"\xff" * 40))

    def test_data_beyond_the_window_closes_and_ends_the_command(self):
        marker = "9874.25"

        def talk(connection):
            stream = connection.exec(["sleep", marker], stdin=True)
            for _ in range(6):
                connection.send(wire.DATA, 0, stream.number, bytes(wire.FRAME_MAX))
                stream.send_window -= wire.FRAME_MAX  # what the pipe took may be credited before the rest is seen

        self.closes(talk)
        self.assertEqual(processes_with(marker), [])

    def test_a_stream_number_used_twice_closes(self):
        def talk(connection):
            connection.exec(["sleep", "5"])
            connection.open(wire.STAT, wire.text("/") + bytes(5), number=1)

        self.closes(talk)

    def test_a_lost_connection_ends_commands_and_unfinished_files(self):
        marker = "9875.25"
        with AgentProcess(BINARY) as agent:
            agent.connection.welcome()
            stream = agent.connection.exec(["sh", "-c", f"setsid sleep {marker} & echo up; wait"])
            agent.connection.until(lambda: stream.out[wire.STDOUT] == b"up\n")
            agent.connection.write("/root/unfinished").data(b"x")
            agent.socket.close()
            self.assertEqual(agent.process.wait(20), 0)
        self.assertEqual(processes_with(marker), [])

    def test_harmless_oddities_are_answered(self):
        with AgentProcess(BINARY) as agent:
            connection = agent.connection
            connection.welcome()
            connection.send(wire.PING, 0, 0, b"hello?")
            connection.until(lambda: connection.pongs == [b"hello?"])
            with self.assertRaises(wire.AgentError) as caught:
                connection.open(999, b"").wait()
            self.assertEqual(caught.exception.code, "unsupported")
            stream = connection.exec(["true"])
            stream.wait()
            stream.signal(15)  # crosses the Result
            stream.cancel()
            stream.credit(wire.STDOUT, 2**32 - 1)
            stream = connection.exec(["true"])
            for _ in range(64):
                stream.credit(wire.STDOUT, 2**32 - 1)
            self.assertEqual(stream.exec_result()["exit_code"], 0)
            self.assertEqual(connection.open(wire.SHUTDOWN, b"").wait(), b"")
            self.assertEqual(agent.process.wait(20), 0)


if __name__ == "__main__":
    BINARY = sys.argv.pop(1)
    try:
        with AgentProcess(BINARY):
            pass
    except Unavailable as error:
        print(f"skipped: {error}")
        sys.exit(77)
    unittest.main(verbosity=2)
