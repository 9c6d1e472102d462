# SPDX-License-Identifier: Apache-2.0
"""The HTTP client. A `Client` and what hangs on it belong to one thread at a time."""

import secrets
from types import TracebackType
from typing import Any, Dict, List, Optional, Type
from urllib.parse import quote

import requests

from ._errors import LOST_VERDICTS, error_from_answer
from ._handle import CommandsAPI, FilesAPI, GitAPI, MountsAPI, SandboxHandle
from .types import (
    ExecRequest,
    ExecResult,
    ExecutionError,
    NetworkError,
    SandboxInfo,
    SandboxSpec,
    SandforgeException,
)

__all__ = [
    "Client",
    "CommandsAPI",
    "FilesAPI",
    "GitAPI",
    "MountsAPI",
    "SandboxHandle",
]


class Client:
    """A connection to one daemon, such as `Client("http://localhost:8080")`.

    `timeout` is in seconds: how long the daemon may take to accept a connection, and
    how long it may then stay silent. A command may run for longer: the daemon sends
    a byte from time to time while it waits.

    Every method raises `NetworkError` when the daemon cannot be reached,
    `SandboxNotFoundError` for an id that it does not know, and `SandforgeException`
    for any other refusal. Closing (or leaving a `with` block) ends the connections,
    not the sandboxes.
    """

    def __init__(self, base_url: str, timeout: int = 60) -> None:
        self.base_url = base_url.rstrip("/")
        self.timeout = timeout
        #: Carries every request. May be replaced, by one with other adapters, proxies
        #: or certificates for example; only get, post, put and delete are called.
        self.session = requests.Session()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc_val: Optional[BaseException],
        exc_tb: Optional[TracebackType],
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connections."""
        self.session.close()

    def create_sandbox(self, spec: Optional[SandboxSpec] = None) -> SandboxHandle:
        """Creates a sandbox and returns when it is ready.

        Raises `InvalidSpecError` when the daemon will not make such a sandbox.
        """
        sandbox_id = self._generate_id()
        wanted = SandboxSpec() if spec is None else spec
        answer = self._do(
            "POST", "/v1/sandboxes", {"id": sandbox_id, "spec": wanted.to_dict()}
        )
        return SandboxHandle(self, answer.get("id", sandbox_id))

    def list(self) -> List[SandboxInfo]:
        """The sandboxes that the daemon has, oldest first."""
        answer = self._do("GET", "/v1/sandboxes", None)
        return [SandboxInfo.from_dict(item) for item in answer.get("sandboxes") or []]

    def exec(self, sandbox_id: str, request: ExecRequest) -> ExecResult:
        """Runs a command and returns when it has ended, whatever its exit code.

        Raises `ExecutionError` when the guest went away under the command.
        """
        path = _sandbox_path(sandbox_id) + "/exec"
        answer = self._do("POST", path, request.to_dict())
        result = ExecResult.from_dict(answer)
        if result.ended_by in LOST_VERDICTS:
            reason = answer.get("reason") or "the guest went away under the command"
            raise ExecutionError(
                f"{result.ended_by}: {reason}", code=result.ended_by, result=result
            )
        return result

    def get_status(self, sandbox_id: str) -> str:
        """The state of a sandbox: "ready", "executing", "destroyed", ..."""
        answer = self._do("GET", _sandbox_path(sandbox_id), None)
        state: str = answer.get("state", "unknown")
        return state

    def get_info(self, sandbox_id: str) -> SandboxInfo:
        """State and facts of a sandbox."""
        return SandboxInfo.from_dict(self._do("GET", _sandbox_path(sandbox_id), None))

    def destroy(self, sandbox_id: str) -> None:
        """Ends a sandbox; nothing of it is left when this returns."""
        self._do("DELETE", _sandbox_path(sandbox_id), None)

    # The next two are not public, but existing tests put doubles in their place.

    @staticmethod
    def _generate_id() -> str:
        return "sbx-" + secrets.token_hex(8)

    def _do(
        self, method: str, path: str, body: Optional[Dict[str, Any]]
    ) -> Dict[str, Any]:
        """Sends one request; the JSON object of the answer, {} for an empty one."""
        try:
            response = self._send(method, self.base_url + path, body)
        except requests.RequestException as error:
            raise NetworkError(f"Request failed: {error}") from error
        if response.status_code >= 400:
            raise error_from_answer(
                response.status_code, _json_or_none(response), response.text
            )
        if not response.text:
            return {}
        try:
            answer = response.json()
        except ValueError as error:
            raise SandforgeException(
                f"Invalid JSON response: {error}", status=response.status_code
            ) from error
        if not isinstance(answer, dict):
            raise SandforgeException(
                "Invalid JSON response: not an object", status=response.status_code
            )
        return answer

    def _send(
        self, method: str, url: str, body: Optional[Dict[str, Any]]
    ) -> requests.Response:
        headers = {"Content-Type": "application/json"}
        timeout = self.timeout
        # By the session's own verbs, because that is what code which replaces the
        # session provides and what tests look at.
        if method == "GET":
            return self.session.get(url, headers=headers, timeout=timeout)
        if method == "DELETE":
            return self.session.delete(url, headers=headers, timeout=timeout)
        if method == "PUT":
            return self.session.put(url, json=body, headers=headers, timeout=timeout)
        return self.session.post(url, json=body, headers=headers, timeout=timeout)


def _sandbox_path(sandbox_id: str) -> str:
    return "/v1/sandboxes/" + quote(sandbox_id, safe="")


def _json_or_none(response: requests.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None
