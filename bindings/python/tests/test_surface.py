# SPDX-License-Identifier: Apache-2.0
"""The surface that existing programs rely on: names, parameters, defaults, classes.

Runs with this package and with the published one: the tables hold for both.
"""

import dataclasses
import inspect
from typing import Any, Callable, Dict, List, Tuple

import pytest

import sandforge
import sandforge.client
import sandforge.types

# The marker for a parameter or field without default.
REQUIRED = inspect.Parameter.empty

CALLS: List[Tuple[Callable[..., Any], Dict[str, Any]]] = [
    (sandforge.Client, {"base_url": REQUIRED, "timeout": 60}),
    (sandforge.Client.create_sandbox, {"spec": None}),
    (sandforge.Client.exec, {"sandbox_id": REQUIRED, "request": REQUIRED}),
    (sandforge.Client.get_status, {"sandbox_id": REQUIRED}),
    (sandforge.Client.get_info, {"sandbox_id": REQUIRED}),
    (sandforge.Client.destroy, {"sandbox_id": REQUIRED}),
    (sandforge.Client.close, {}),
    (sandforge.SandboxHandle, {"client": REQUIRED, "sandbox_id": REQUIRED}),
    (sandforge.SandboxHandle.kill, {}),
    (sandforge.SandboxHandle.info, {}),
    (
        sandforge.CommandsAPI.run,
        {"command": REQUIRED, "cwd": "/", "env": None, "timeout_sec": 60},
    ),
    (sandforge.FilesAPI.read, {"path": REQUIRED, "as_bytes": False}),
    (sandforge.FilesAPI.write, {"path": REQUIRED, "data": REQUIRED}),
    (sandforge.FilesAPI.list, {"path": REQUIRED}),
    (sandforge.FilesAPI.stat, {"path": REQUIRED}),
    (sandforge.FilesAPI.exists, {"path": REQUIRED}),
    (sandforge.FilesAPI.remove, {"path": REQUIRED}),
    (sandforge.GitAPI.clone, {"url": REQUIRED, "dest": ".", "depth": None}),
    (sandforge.GitAPI.init, {"cwd": REQUIRED}),
    (sandforge.GitAPI.add, {"paths": REQUIRED, "cwd": REQUIRED}),
    (sandforge.GitAPI.commit, {"message": REQUIRED, "cwd": REQUIRED}),
    (
        sandforge.GitAPI.push,
        {"cwd": REQUIRED, "remote": "origin", "branch": "HEAD"},
    ),
    (sandforge.GitAPI.pull, {"cwd": REQUIRED, "remote": "origin"}),
    (sandforge.GitAPI.status, {"cwd": REQUIRED}),
    (sandforge.GitAPI.branches, {"cwd": REQUIRED}),
]

FIELDS: List[Tuple[Any, Dict[str, Any]]] = [
    (
        sandforge.SandboxSpec,
        {
            "backend": "macos-vz",
            "cpu": 2,
            "memory_mb": 512,
            "disk_gb": 10,
            "timeout_sec": 3600,
            "network_mode": "offline",
            "task_isolation": "container",
            "mounts": [],
        },
    ),
    (
        sandforge.WorkspaceMount,
        {"host_path": REQUIRED, "guest_path": REQUIRED, "read_only": False},
    ),
    (
        sandforge.ExecRequest,
        {"command": REQUIRED, "cwd": "/", "env": {}, "timeout_sec": 60},
    ),
    (
        sandforge.ExecResult,
        {
            "exit_code": REQUIRED,
            "stdout": REQUIRED,
            "stderr": REQUIRED,
            "artifacts": [],
        },
    ),
    (sandforge.SandboxInfo, {"id": REQUIRED, "state": REQUIRED}),
    (
        sandforge.EntryInfo,
        dict.fromkeys(["name", "path", "size", "is_dir", "mod_time"], REQUIRED),
    ),
    (sandforge.GitStatus, dict.fromkeys(["branch", "clean", "stdout"], REQUIRED)),
]


def default_of(field: "dataclasses.Field[Any]") -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return REQUIRED


@pytest.mark.parametrize("call, expected", CALLS)
def test_parameters_and_defaults_are_as_published(
    call: Callable[..., Any], expected: Dict[str, Any]
) -> None:
    parameters = dict(inspect.signature(call).parameters)
    parameters.pop("self", None)
    assert {name: p.default for name, p in parameters.items()} == expected
    assert list(parameters) == list(expected)


@pytest.mark.parametrize("kind, expected", FIELDS)
def test_fields_and_defaults_are_as_published(
    kind: Any, expected: Dict[str, Any]
) -> None:
    fields = {field.name: default_of(field) for field in dataclasses.fields(kind)}
    assert fields == expected
    assert list(fields) == list(expected)


def test_every_exception_is_a_sandforge_exception() -> None:
    for kind in (
        sandforge.SandboxNotFoundError,
        sandforge.ExecutionError,
        sandforge.NetworkError,
        sandforge.InvalidSpecError,
    ):
        assert kind.__bases__ == (sandforge.SandforgeException,)
        assert str(kind("text")) == "text"
    assert sandforge.SandforgeException.__bases__ == (Exception,)


def test_modules_export_the_same_classes() -> None:
    for name in ("Client", "SandboxHandle", "CommandsAPI", "FilesAPI", "GitAPI"):
        assert getattr(sandforge.client, name) is getattr(sandforge, name)
        assert name in sandforge.__all__
    for kind, _ in FIELDS:
        assert getattr(sandforge.types, kind.__name__) is kind
        assert kind.__name__ in sandforge.__all__
    assert sandforge.Sandbox is sandforge.SandboxHandle


def test_mutable_defaults_are_not_shared() -> None:
    assert sandforge.SandboxSpec().mounts is not sandforge.SandboxSpec().mounts
    assert sandforge.ExecRequest(["a"]).env is not sandforge.ExecRequest(["a"]).env


def test_json_forms_have_the_names_of_the_fields() -> None:
    spec = sandforge.SandboxSpec(mounts=[sandforge.WorkspaceMount("/a", "/b", True)])
    assert spec.to_dict() == {
        "backend": "macos-vz",
        "cpu": 2,
        "memory_mb": 512,
        "disk_gb": 10,
        "timeout_sec": 3600,
        "network_mode": "offline",
        "task_isolation": "container",
        "mounts": [{"host_path": "/a", "guest_path": "/b", "read_only": True}],
    }
    assert sandforge.ExecRequest(["a", "b"], env={"K": "V"}).to_dict() == {
        "command": ["a", "b"],
        "cwd": "/",
        "env": {"K": "V"},
        "timeout_sec": 60,
    }
