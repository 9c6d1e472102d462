# SPDX-License-Identifier: Apache-2.0
"""Sandforge for Python: sandboxes for code that nobody trusts yet.

    from sandforge import Client

    client = Client("http://localhost:8080")
    sandbox = client.create_sandbox()
    print(sandbox.commands.run(["uname", "-sr"]).stdout)
    sandbox.kill()

Everything here talks to a `sandforged` over HTTP and raises `SandforgeException`
or one of its subclasses when that fails.
"""

from .client import (
    Client,
    CommandsAPI,
    FilesAPI,
    GitAPI,
    MountsAPI,
    SandboxHandle,
)
from .types import (
    EntryInfo,
    ExecRequest,
    ExecResult,
    ExecutionError,
    GitStatus,
    InvalidSpecError,
    NetworkError,
    SandboxInfo,
    SandboxNotFoundError,
    SandboxSpec,
    SandforgeException,
    WorkspaceMount,
)

Sandbox = SandboxHandle

__version__ = "0.2.0.dev0"

__all__ = [
    "Client",
    "CommandsAPI",
    "EntryInfo",
    "ExecRequest",
    "ExecResult",
    "ExecutionError",
    "FilesAPI",
    "GitAPI",
    "GitStatus",
    "InvalidSpecError",
    "MountsAPI",
    "NetworkError",
    "Sandbox",
    "SandboxHandle",
    "SandboxInfo",
    "SandboxNotFoundError",
    "SandboxSpec",
    "SandforgeException",
    "WorkspaceMount",
]
