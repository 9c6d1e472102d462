# SPDX-License-Identifier: Apache-2.0
"""A sandbox as an object, with commands, files and git on it."""

import base64
from typing import (
    TYPE_CHECKING,
    Any,
    Dict,
    List,
    Optional,
    Sequence,
    Union,
    overload,
)
from urllib.parse import quote

from .types import (
    EntryInfo,
    ExecRequest,
    ExecResult,
    GitStatus,
    SandboxInfo,
    SandforgeException,
    WorkspaceMount,
)

if TYPE_CHECKING:
    from typing import Literal

    from .client import Client

# Bytes. Up to here file data travels as an array of numbers, the form that every
# server and every test double of this API knows; above it as base64, which takes a
# third of the space and of the time.
_ARRAY_MAX = 64 * 1024


class SandboxHandle:
    """A sandbox by its id. Dropping the object does not end the sandbox; `kill` does.

    Methods raise what `Client` raises.
    """

    def __init__(self, client: "Client", sandbox_id: str) -> None:
        self.id = sandbox_id
        self._client = client
        self.commands = CommandsAPI(self)
        self.files = FilesAPI(self)
        self.git = GitAPI(self)
        self.mounts = MountsAPI(self)

    def kill(self) -> None:
        """Ends the sandbox; nothing of it is left when this returns."""
        self._client.destroy(self.id)

    def info(self) -> SandboxInfo:
        """State and facts of the sandbox at this moment."""
        return self._client.get_info(self.id)

    def _request(
        self, method: str, path: str, body: Optional[Dict[str, Any]] = None
    ) -> Dict[str, Any]:
        base = "/v1/sandboxes/" + quote(self.id, safe="")
        return self._client._do(method, base + path, body)


class CommandsAPI:
    """Commands in a sandbox."""

    def __init__(self, sandbox: SandboxHandle) -> None:
        self._sandbox = sandbox

    def run(
        self,
        command: List[str],
        cwd: str = "/",
        env: Optional[Dict[str, str]] = None,
        timeout_sec: int = 60,
    ) -> ExecResult:
        """Runs a command and returns when it has ended, whatever its exit code.

        `command` is program and arguments; no shell is involved. `env` is added to
        the environment of the guest, `timeout_sec` is in seconds. Raises
        `ExecutionError` when the guest went away under the command.
        """
        request = ExecRequest(
            command=command, cwd=cwd, env=env or {}, timeout_sec=timeout_sec
        )
        return self._sandbox._client.exec(self._sandbox.id, request)


class FilesAPI:
    """Files of a sandbox. Paths are absolute paths of the guest.

    A file that is missing, denied or of the wrong kind is a `SandforgeException`.
    """

    def __init__(self, sandbox: SandboxHandle) -> None:
        self._sandbox = sandbox

    @overload
    def read(self, path: str, as_bytes: "Literal[False]" = False) -> str: ...

    @overload
    def read(self, path: str, as_bytes: "Literal[True]") -> bytes: ...

    @overload
    def read(self, path: str, as_bytes: bool) -> Union[str, bytes]: ...

    def read(self, path: str, as_bytes: bool = False) -> Union[str, bytes]:
        """The whole content of a file of at most 16 MiB (the server's default cap).

        As text it must be UTF-8, else UnicodeDecodeError; `as_bytes` takes anything.
        """
        answer = self._sandbox._request("GET", "/files/read" + _path_query(path))
        data = _bytes_from_json(answer.get("data"))
        return data if as_bytes else data.decode("utf-8")

    def write(self, path: str, data: Union[str, bytes]) -> int:
        """Creates or replaces a file, atomically; returns its size in bytes.

        Text is written as UTF-8. Missing parent directories are made.
        """
        raw = data.encode("utf-8") if isinstance(data, str) else bytes(data)
        body = {"guest_path": path, "data": _bytes_to_json(raw)}
        size: int = self._sandbox._request("PUT", "/files", body).get("size", 0)
        return size

    def list(self, path: str) -> List[EntryInfo]:
        """The entries of a directory, sorted by name, without `.` and `..`."""
        answer = self._sandbox._request("GET", "/files" + _path_query(path))
        return [EntryInfo.from_dict(entry) for entry in answer.get("entries") or []]

    def stat(self, path: str) -> EntryInfo:
        """Size, kind and time of a file or directory; symbolic links are followed."""
        answer = self._sandbox._request("GET", "/stat" + _path_query(path))
        return EntryInfo.from_dict(answer)

    def exists(self, path: str) -> bool:
        """True when `stat` answers.

        Any failure of it is False, a daemon out of reach included: use `stat` where
        the difference matters.
        """
        try:
            self.stat(path)
        except SandforgeException:
            return False
        return True

    def remove(self, path: str) -> ExecResult:
        """Removes a file or a whole directory, by `rm -rf` in the guest.

        What is missing already counts as removed. Look at the result's `exit_code`.
        """
        return self._sandbox.commands.run(["rm", "-rf", path], timeout_sec=30)


class MountsAPI:
    """Directories of the daemon's host in a sandbox, beside those of its spec."""

    def __init__(self, sandbox: SandboxHandle) -> None:
        self._sandbox = sandbox

    def list(self) -> List[WorkspaceMount]:
        """Those of the spec and those that came later."""
        answer = self._sandbox._request("GET", "/mounts")
        return [
            WorkspaceMount(
                mount["host_path"], mount["guest_path"], mount.get("read_only", False)
            )
            for mount in answer.get("mounts") or []
        ]

    def add(self, mount: WorkspaceMount) -> None:
        """Mounts one more directory; running commands see it."""
        self._sandbox._request("POST", "/mounts", mount.to_dict())

    def remove(self, guest_path: str) -> None:
        """Takes it away; running commands keep what they have open in it."""
        query = "?guest_path=" + quote(guest_path, safe="/", errors="surrogateescape")
        self._sandbox._request("DELETE", "/mounts" + query)


class GitAPI:
    """Git in a sandbox: each call runs the guest's git for at most 120 seconds.

    A git that fails raises nothing: look at `exit_code` and `stderr` of the result.
    `cwd` is the work tree, an absolute path of the guest.
    """

    _TIMEOUT_SEC = 120

    def __init__(self, sandbox: SandboxHandle) -> None:
        self._sandbox = sandbox

    def clone(
        self, url: str, dest: str = ".", depth: Optional[int] = None
    ) -> ExecResult:
        """Clones into `dest`, relative to `/`; of `depth` commits when given."""
        options = ["--depth", str(depth)] if depth else []
        return self._git("/", "clone", *options, url, dest)

    def init(self, cwd: str) -> ExecResult:
        """Makes `cwd` a repository."""
        return self._git(cwd, "init")

    def add(self, paths: Union[str, Sequence[str]], cwd: str) -> ExecResult:
        """Stages one path or several."""
        wanted = [paths] if isinstance(paths, str) else list(paths)
        return self._git(cwd, "add", *wanted)

    def commit(self, message: str, cwd: str) -> ExecResult:
        """Commits what is staged."""
        return self._git(cwd, "commit", "-m", message)

    def push(
        self, cwd: str, remote: str = "origin", branch: str = "HEAD"
    ) -> ExecResult:
        """Pushes `branch` to `remote`."""
        return self._git(cwd, "push", remote, branch)

    def pull(self, cwd: str, remote: str = "origin") -> ExecResult:
        """Pulls from `remote`."""
        return self._git(cwd, "pull", remote)

    def status(self, cwd: str) -> GitStatus:
        """Branch and cleanliness of the work tree; two commands."""
        branch = self._git(cwd, "rev-parse", "--abbrev-ref", "HEAD")
        changes = self._git(cwd, "status", "--porcelain")
        return GitStatus(
            branch=branch.stdout.strip(),
            # Without the first half, what is no repository would count as clean.
            clean=changes.exit_code == 0 and not changes.stdout.strip(),
            stdout=changes.stdout,
        )

    def branches(self, cwd: str) -> List[str]:
        """Names of the local branches."""
        lines = self._git(cwd, "branch", "--list").stdout.splitlines()
        # Two columns of marks come first: "*" current, "+" in another work tree.
        return [line.lstrip("*+ ").rstrip() for line in lines if line.strip()]

    def _git(self, cwd: str, *args: str) -> ExecResult:
        return self._sandbox.commands.run(
            ["git", *args], cwd=cwd, timeout_sec=self._TIMEOUT_SEC
        )


def _path_query(path: str) -> str:
    # Names need not be UTF-8: what Python decoded with surrogateescape goes back.
    return "?path=" + quote(path, safe="/", errors="surrogateescape")


def _bytes_to_json(data: bytes) -> Union[str, List[int]]:
    if len(data) <= _ARRAY_MAX:
        return list(data)
    return base64.b64encode(data).decode("ascii")


def _bytes_from_json(data: Any) -> bytes:
    """Both forms that a server may send; anything else is a broken answer."""
    try:
        if isinstance(data, str):
            return base64.b64decode(data, validate=True)
        if not isinstance(data, (list, type(None))):
            raise TypeError("neither text nor an array")
        return bytes(data or [])
    except (TypeError, ValueError) as error:
        raise SandforgeException(f"Invalid file data in response: {error}") from error
