# SPDX-License-Identifier: Apache-2.0
"""The exceptions of the SDK, and which answer of the daemon becomes which."""

from typing import TYPE_CHECKING, Any, Dict, Optional

if TYPE_CHECKING:
    from .types import ExecResult

# Verdicts that say the guest went away under the command: its exit code is no
# statement of the command's own.
LOST_VERDICTS = frozenset({"vm_crash", "agent_lost"})


class SandforgeException(Exception):
    """Base of everything that this package raises on purpose.

    `str()` is one line for people. The attributes are what a program may act on;
    each is None where the failure has no such thing (a refused connection has no
    HTTP status, for example).
    """

    def __init__(
        self,
        *args: object,
        status: Optional[int] = None,
        code: Optional[str] = None,
        remediation: Optional[str] = None,
        rule: Optional[str] = None,
    ) -> None:
        super().__init__(*args)
        #: HTTP status of the answer.
        self.status = status
        #: The daemon's machine word for the reason, such as "id_taken".
        self.code = code
        #: What to do about it, in the daemon's words.
        self.remediation = remediation
        #: The rule of the daemon's policy that refused, such as "limits.cpu".
        self.rule = rule


class SandboxNotFoundError(SandforgeException):
    """The daemon knows no sandbox of that id (HTTP 404)."""


class ExecutionError(SandforgeException):
    """A command has no verdict of its own, because its guest went away under it.

    A command that fails, is killed or runs out of time is a result, not an error.
    `result` holds the output that had arrived, or None when there is none.
    """

    def __init__(
        self,
        *args: object,
        status: Optional[int] = None,
        code: Optional[str] = None,
        remediation: Optional[str] = None,
        rule: Optional[str] = None,
        result: "Optional[ExecResult]" = None,
    ) -> None:
        super().__init__(
            *args, status=status, code=code, remediation=remediation, rule=rule
        )
        self.result = result


class NetworkError(SandforgeException):
    """The daemon could not be reached, or the connection broke or stalled."""


class InvalidSpecError(SandforgeException):
    """The daemon refused the specification of a sandbox; its text says why."""


def error_from_answer(status: int, body: Any, text: str) -> SandforgeException:
    """The exception for an answer of status 400 and above.

    `body` is the decoded JSON, or None when the answer was no JSON; `text` the
    answer as it came.
    """
    fields: Dict[str, Any] = body if isinstance(body, dict) else {}
    if body is None:
        message = text or f"HTTP {status}"
    else:
        message = str(fields.get("error", "Unknown error"))
    code = _text_or_none(fields.get("code"))
    remediation = _text_or_none(fields.get("remediation"))

    kind = SandforgeException
    prefix = f"HTTP {status}"
    if status == 404:
        kind = SandboxNotFoundError
        prefix = "Sandbox not found"
    elif code == "invalid_spec":
        kind = InvalidSpecError
    elif code in LOST_VERDICTS:
        kind = ExecutionError
    return kind(
        f"{prefix}: {message}",
        status=status,
        code=code,
        remediation=remediation,
        rule=_text_or_none(fields.get("rule")),
    )


def _text_or_none(value: Any) -> Optional[str]:
    return value if isinstance(value, str) and value else None
