# SPDX-License-Identifier: Apache-2.0
"""G7, G8 and G9 through the engine: a sandbox under linux-kvm, in the lab's nested guest."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import events

MEMORY_MIB = 256
# An ioeventfd's write is no exit to user space, but an exit: virtio over MMIO, 4.2.2; include/trace/events/kvm.h.
QUEUE_NOTIFY, MMIO_WRITE = 0x50, 2
KVM_RUN_CALL = 16  # ioctl; a vCPU thread's own are its exits, counted apart
# read, write, pread64, pwrite64, readv, writev, sendto, recvfrom, sendmsg, recvmsg, preadv, pwritev
MOVING_CALLS = {0, 1, 17, 18, 19, 20, 44, 45, 46, 47, 295, 296}


@dataclass
class Cost:
    """Of one action, on the host."""

    engine_ki: float = 0.0
    loop_ki: float = 0.0
    user_exits: float = 0.0
    kicks: float = 0.0
    exits: float = 0.0
    engine_calls: Counter = field(default_factory=Counter)
    monitor_calls: Counter = field(default_factory=Counter)
    moved: float = 0.0  # bytes that went through system calls
    peak_kib: int = 0


class Sandbox:
    def __init__(self, programs: Path, images: Path, state: Path) -> None:
        environment = {**os.environ, "LD_LIBRARY_PATH": str(programs), "SANDFORGE_HELPER_DIR": str(programs),
                       "SANDFORGE_IMAGE_DIR": str(images)}
        self.driver = subprocess.Popen([programs / "stream_driver", state, "linux-kvm", str(MEMORY_MIB)],
                                       env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.driver.stdout.readline() != "ready\n":
            raise RuntimeError("the engine could not create a sandbox")
        self.monitor = next(int(folder.name.split("-")[0]) for folder in events.KVM_COUNTERS.iterdir()
                            if folder.is_dir())

    def threads(self, pid: int) -> list[int]:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]

    def ran_ns(self, thread: int) -> int:
        return int(Path(f"/proc/{self.monitor}/task/{thread}/schedstat").read_text().split()[0])

    def tell(self, order: str) -> int:
        self.driver.stdin.write(order + "\n")
        self.driver.stdin.flush()
        answer = self.driver.stdout.readline().split()
        if answer[:1] != ["cpu"]:
            raise RuntimeError(f"the sandbox did not do {order!r}")
        return int(answer[1])

    def timed(self, order: str, actions: int) -> Cost:
        """Without tracing: CPU time, which counts instructions here, and KVM's own counters."""
        before, loop = events.kvm_counters(self.monitor), self.ran_ns(self.monitor)
        cpu = self.tell(order)
        after = events.kvm_counters(self.monitor)
        cost = Cost(engine_ki=cpu / 1000 / actions, loop_ki=(self.ran_ns(self.monitor) - loop) / 1000 / actions)
        cost.exits = (after["exits"] - before["exits"]) / actions
        return cost

    def counted(self, order: str, actions: int, cost: Cost) -> None:
        """The same again, with system calls and exits counted."""
        watch = events.Trace({}, {"kvm/kvm_userspace_exit": "reason", "kvm/kvm_mmio": "type,gpa",
                                  "raw_syscalls/sys_enter": "common_pid,id",
                                  "raw_syscalls/sys_exit": "common_pid,id:vals=ret if ret > 0"})
        watch.start()
        self.tell(order)
        engine, monitor = set(self.threads(self.driver.pid)), set(self.threads(self.monitor))
        for (thread, number), count in watch.histogram("raw_syscalls/sys_enter").items():
            if thread in engine:
                cost.engine_calls[number] += count / actions
            elif thread in monitor and (thread == self.monitor or number != KVM_RUN_CALL):
                cost.monitor_calls[number] += count / actions
        for (thread, number), total in watch.histogram("raw_syscalls/sys_exit", "ret").items():
            if number in MOVING_CALLS and thread in engine | monitor:
                cost.moved += total / actions
        cost.user_exits = sum(watch.histogram("kvm/kvm_userspace_exit").values()) / actions
        for (kind, address), count in watch.histogram("kvm/kvm_mmio").items():
            if kind == MMIO_WRITE and address % 0x1000 == QUEUE_NOTIFY:
                cost.kicks += count / actions
        watch.stop()

    def peak_kib(self) -> int:
        """Of the engine's process, so far."""
        for line in Path(f"/proc/{self.driver.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
        return 0

    def end(self) -> None:
        self.driver.stdin.close()
        self.driver.wait(60)
