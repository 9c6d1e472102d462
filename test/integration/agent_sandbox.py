# SPDX-License-Identifier: Apache-2.0
"""Starts the agent as an ordinary process in a private mount and PID namespace, over a throw-away copy of this
machine's root file system. Needs root; Unavailable says why it cannot be done here."""
import os
import shutil
import signal
import socket
import subprocess
import tempfile

import agent_driver

# An overlay keeps this machine as it is. Where one cannot lie on the root file system, the tests cannot run.
SETUP = """
set -e
cd "$1"
mount -t tmpfs -o mode=755 scratch scratch
mkdir scratch/upper scratch/work
mount -t overlay -o lowerdir=/,upperdir=scratch/upper,workdir=scratch/work overlay root
mount -t proc proc root/proc
mount --rbind /sys root/sys
mount -t tmpfs -o mode=755 dev root/dev
for node in "null 3" "zero 5" "full 7" "urandom 9"; do
  set -- "$1" "$2" "$3" $node
  mknod -m 666 "root/dev/$4" c 1 "$5"
done
mkdir root/dev/shm root/dev/mqueue
mount -t tmpfs -o mode=1777 tmp root/tmp
mount -t proc proc /proc
if [ -n "$3" ]; then exec "$2" --no-init --channel-fd 0 --root "$1/root" --cgroup "$3"; fi
exec "$2" --no-init --channel-fd 0 --root "$1/root"
"""


class Unavailable(Exception):
    pass


def cgroup2_mount():
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        for line in mounts:
            fields = line.split()
            if fields[fields.index("-") + 1] == "cgroup2":
                return fields[4]
    return None


class AgentProcess:
    """One agent and its temporary directory. Use as a context manager."""

    def __init__(self, binary):
        if os.geteuid() != 0:
            raise Unavailable("needs root (mount and PID namespaces)")
        for tool in ("unshare", "mount"):
            if shutil.which(tool) is None:
                raise Unavailable(f"needs {tool}")
        self.directory = tempfile.mkdtemp(prefix="sandforge-agent-")
        for name in ("scratch", "root"):
            os.mkdir(os.path.join(self.directory, name))
        self.cgroup = ""
        mount = cgroup2_mount()
        if mount is not None:
            self.cgroup = os.path.join(mount, f"sandforge-test-{os.getpid()}-{os.path.basename(self.directory)[-4:]}")
            try:
                os.mkdir(self.cgroup)
            except OSError:
                self.cgroup = ""
        ours, theirs = socket.socketpair()
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "sh", "-c", SETUP,
                   "setup", self.directory, os.path.abspath(binary), self.cgroup]
        self.process = subprocess.Popen(command, stdin=theirs, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        theirs.close()
        self.socket = ours
        try:
            self.connection = agent_driver.Connection(ours, welcome=False)
            self.connection.until(lambda: self.connection.hello is not None or self.connection.closed, 30)
        except (ConnectionError, TimeoutError):
            self.connection = None
        if self.connection is None or self.connection.hello is None:
            self.process.kill()
            reason = self.process.communicate()[1].decode(errors="replace").strip()
            self.close()
            raise Unavailable(f"the agent could not be started in namespaces here: {reason}")

    def controllers(self):
        """The controllers that tasks' groups have."""
        try:
            with open(os.path.join(self.cgroup, "tasks/cgroup.subtree_control"), encoding="utf-8") as file:
                return file.read().split()
        except OSError:
            return []

    def agent_pid(self):
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="utf-8") as file:
            return int(file.read().split()[0])

    def close(self):
        self.socket.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self.process.stderr.close()
        if self.cgroup:
            tasks = os.path.join(self.cgroup, "tasks")
            for name in os.listdir(tasks) if os.path.isdir(tasks) else ():
                if os.path.isdir(os.path.join(tasks, name)):
                    os.rmdir(os.path.join(tasks, name))
            for path in (tasks, self.cgroup):
                if os.path.isdir(path):
                    os.rmdir(path)
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()
