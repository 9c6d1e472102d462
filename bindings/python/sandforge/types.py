# SPDX-License-Identifier: Apache-2.0
"""What goes over the wire, as dataclasses, and the exceptions.

The dataclasses have exactly the fields that existing code compares, prints and
unpacks. What the daemon tells beyond them is read through properties, which take
no part in equality, `repr()` or `dataclasses.asdict()`.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, Optional, Union

from ._errors import (
    ExecutionError,
    InvalidSpecError,
    NetworkError,
    SandboxNotFoundError,
    SandforgeException,
)

__all__ = [
    "EntryInfo",
    "ExecRequest",
    "ExecResult",
    "ExecutionError",
    "GitStatus",
    "InvalidSpecError",
    "NetworkError",
    "SandboxInfo",
    "SandboxNotFoundError",
    "SandboxSpec",
    "SandforgeException",
    "WorkspaceMount",
]


class _Answer:
    """Keeps the whole JSON object that a dataclass was read from."""

    @property
    def details(self) -> Dict[str, Any]:
        """Everything the daemon told, by its JSON names; empty when built by hand."""
        details: Dict[str, Any] = self.__dict__.get("_details", {})
        return details

    def _keep(self, data: Dict[str, Any]) -> None:
        self.__dict__["_details"] = dict(data)


@dataclass
class WorkspaceMount:
    """A directory of the host, shown inside the guest.

    Both paths are absolute: `host_path` on the machine of the daemon, `guest_path`
    in the sandbox.
    """

    host_path: str
    guest_path: str
    read_only: bool = False

    def to_dict(self) -> Dict[str, Any]:
        """The JSON form."""
        return asdict(self)


@dataclass
class SandboxSpec:
    """What a sandbox is made of. Nothing is checked here: the daemon does.

    A number of 0 means its default.
    """

    #: "linux-kvm", "linux-qemu", "macos-vz", ... or "auto". The default is taken as
    #: "auto" on a host that is not a Mac.
    backend: str = "macos-vz"
    #: Virtual CPUs.
    cpu: int = 2
    #: Memory of the guest, MiB.
    memory_mb: int = 512
    #: Private disk of the guest, GiB.
    disk_gb: int = 10
    #: Life of the sandbox from ready on, seconds.
    timeout_sec: int = 3600
    #: "offline", "fetch" or "full".
    network_mode: str = "offline"
    #: "container" (commands do not see each other) or "process".
    task_isolation: str = "container"
    mounts: List[WorkspaceMount] = field(default_factory=list)

    def to_dict(self) -> Dict[str, Any]:
        """The JSON form, mounts included."""
        return asdict(self)


@dataclass
class ExecRequest:
    """A command to run."""

    #: Program and arguments. No shell is involved; PATH is searched.
    command: List[str]
    #: Working directory, an absolute path in the guest.
    cwd: str = "/"
    #: Added to the environment that the guest gives every command.
    env: Dict[str, str] = field(default_factory=dict)
    #: Seconds until the command is ended with exit code 124; 0: no limit of its own.
    timeout_sec: int = 60

    def to_dict(self) -> Dict[str, Any]:
        """The JSON form."""
        return asdict(self)


@dataclass
class ExecResult(_Answer):
    """How a command ended, and what it wrote."""

    #: 128+n when signal n ended it, 124 on time-out, 127 not found, 126 not startable.
    exit_code: int
    #: Text; bytes that are no UTF-8 are U+FFFD here.
    stdout: str
    stderr: str
    #: Paths of produced files.
    artifacts: List[str] = field(default_factory=list)

    @property
    def ended_by(self) -> Optional[str]:
        """What ended it: "exit", "signal", "timeout", ...; None when not told."""
        return _text(self.details.get("ended_by"))

    @property
    def timed_out(self) -> bool:
        """True when `timeout_sec` ended the command."""
        return self.details.get("timed_out") is True

    @property
    def truncated(self) -> bool:
        """True when more was written than the daemon keeps (16 MiB unless told)."""
        return self.details.get("truncated") is True

    @staticmethod
    def from_dict(data: Dict[str, Any]) -> "ExecResult":
        """Reads the JSON form; what is absent is 0 or empty."""
        result = ExecResult(
            exit_code=data.get("exit_code", 0),
            stdout=data.get("stdout", ""),
            stderr=data.get("stderr", ""),
            artifacts=data.get("artifacts") or [],
        )
        result._keep(data)
        return result


@dataclass
class SandboxInfo(_Answer):
    """A sandbox as the daemon sees it at this moment."""

    id: str
    #: "provisioning", "ready", "executing", "destroyed", "error", ...
    state: str

    @property
    def backend(self) -> Optional[str]:
        """The backend really used; None when the daemon did not say."""
        return _text(self.details.get("backend"))

    @property
    def isolation(self) -> Optional[str]:
        """What stands between guest and host: "hardware_vm", "software_vm", ..."""
        return _text(self.details.get("isolation"))

    @staticmethod
    def from_dict(data: Dict[str, Any]) -> "SandboxInfo":
        """Reads the JSON form; what is absent is empty."""
        info = SandboxInfo(id=data.get("id", ""), state=data.get("state", ""))
        info._keep(data)
        return info


@dataclass
class EntryInfo(_Answer):
    """One file, directory or other entry of the guest's file system."""

    name: str
    path: str
    #: Bytes.
    size: int
    is_dir: bool
    #: Unix seconds from sandforged; other servers send RFC 3339 text.
    mod_time: Union[int, str]

    @property
    def posix_mode(self) -> Optional[int]:
        """`st_mode`, type bits included; None when the daemon did not say."""
        mode = self.details.get("posix_mode")
        return mode if isinstance(mode, int) else None

    @staticmethod
    def from_dict(data: Dict[str, Any]) -> "EntryInfo":
        """Reads the JSON form; what is absent is 0, False or empty."""
        entry = EntryInfo(
            name=data.get("name", ""),
            path=data.get("path", ""),
            size=data.get("size", 0),
            is_dir=data.get("isDir", data.get("is_dir", False)),
            mod_time=data.get("modTime", data.get("mod_time", "")),
        )
        entry._keep(data)
        return entry


@dataclass
class GitStatus:
    """The state of a work tree."""

    #: Short name of the branch; "HEAD" when none is checked out.
    branch: str
    #: True when git answered and had nothing to report.
    clean: bool
    #: What `git status --porcelain` wrote.
    stdout: str


def _text(value: Any) -> Optional[str]:
    return value if isinstance(value, str) else None
