# SPDX-License-Identifier: Apache-2.0
"""Files and git of a sandbox: requests, both byte forms, and the types read."""

import base64
import copy
import dataclasses
from typing import Any, List

import pytest
from fake_daemon import FakeDaemon

from sandforge import (
    EntryInfo,
    ExecResult,
    SandboxHandle,
    SandforgeException,
    WorkspaceMount,
)

OK = {"exit_code": 0, "stdout": "", "stderr": "", "artifacts": []}


def commands_of(daemon: FakeDaemon) -> List[List[str]]:
    return [request.body["command"] for request in daemon.seen]


@pytest.mark.parametrize("data", [[104, 195, 182], "aMO2"])
def test_read_takes_both_byte_forms(
    sandbox: SandboxHandle, daemon: FakeDaemon, data: Any
) -> None:
    daemon.answer(200, {"data": data})
    daemon.answer(200, {"data": data})
    assert sandbox.files.read("/a") == "hö"
    assert sandbox.files.read("/a", as_bytes=True) == "hö".encode()
    assert daemon.seen[0].path == "/v1/sandboxes/sbx-unit/files/read"


@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": []}, {"data": ""}])
def test_read_of_an_empty_file_is_empty(
    sandbox: SandboxHandle, daemon: FakeDaemon, body: Any
) -> None:
    daemon.answer(200, body)
    assert sandbox.files.read("/a") == ""


def test_read_of_what_is_no_text_needs_as_bytes(
    sandbox: SandboxHandle, daemon: FakeDaemon
) -> None:
    daemon.answer(200, {"data": [255, 0]})
    daemon.answer(200, {"data": [255, 0]})
    with pytest.raises(UnicodeDecodeError):
        sandbox.files.read("/a")
    assert sandbox.files.read("/a", as_bytes=True) == b"\xff\x00"


@pytest.mark.parametrize("data", [[256], ["a"], [-1], "*", {"a": 1}, 3.5, 5])
def test_read_of_broken_data_is_an_exception(
    sandbox: SandboxHandle, daemon: FakeDaemon, data: Any
) -> None:
    daemon.answer(200, {"data": data})
    with pytest.raises(SandforgeException, match="^Invalid file data in response"):
        sandbox.files.read("/a", as_bytes=True)


@pytest.mark.parametrize("path", ["/a b", "/a+b", "/a&path=/b", "/ä#?%41", "/\udcff"])
def test_any_path_arrives_as_it_was_given(
    sandbox: SandboxHandle, daemon: FakeDaemon, path: str
) -> None:
    daemon.answer(200, {"data": []})
    sandbox.files.read(path)
    assert daemon.seen[0].query == {"path": [path]}


@pytest.mark.parametrize("data", ["hö", "hö".encode(), bytearray("hö".encode())])
def test_write_of_little_sends_numbers(
    sandbox: SandboxHandle, daemon: FakeDaemon, data: Any
) -> None:
    daemon.answer(200, {"size": 3})
    assert sandbox.files.write("/a", data) == 3
    assert daemon.seen[0].method == "PUT"
    assert daemon.seen[0].path == "/v1/sandboxes/sbx-unit/files"
    assert daemon.seen[0].body == {"guest_path": "/a", "data": [104, 195, 182]}


def test_write_of_much_sends_base64(sandbox: SandboxHandle, daemon: FakeDaemon) -> None:
    data = bytes(range(256)) * 4096
    daemon.answer(200, {"size": len(data)})
    assert sandbox.files.write("/a", data) == len(data)
    assert base64.b64decode(daemon.seen[0].body["data"]) == data


@pytest.mark.parametrize("keys", [("isDir", "modTime"), ("is_dir", "mod_time")])
def test_list_and_stat_read_entries(
    sandbox: SandboxHandle, daemon: FakeDaemon, keys: Any
) -> None:
    entry = {"name": "d", "path": "/x/d", "size": 4096, keys[0]: True, keys[1]: 17}
    daemon.answer(200, {"entries": [entry]})
    daemon.answer(200, {**entry, "posix_mode": 0o40755})
    expected = EntryInfo("d", "/x/d", 4096, True, 17)
    assert sandbox.files.list("/x") == [expected]
    found = sandbox.files.stat("/x/d")
    assert found == expected
    assert found.posix_mode == 0o40755
    assert [request.path for request in daemon.seen] == [
        "/v1/sandboxes/sbx-unit/files",
        "/v1/sandboxes/sbx-unit/stat",
    ]


def test_list_of_an_empty_directory_is_empty(
    sandbox: SandboxHandle, daemon: FakeDaemon
) -> None:
    daemon.answer(200, {"entries": None})
    assert sandbox.files.list("/x") == []


def test_exists_tells_whether_stat_answers(
    sandbox: SandboxHandle, daemon: FakeDaemon
) -> None:
    daemon.answer(200, {"name": "a"})
    daemon.answer(422, {"error": "no such file"})
    assert sandbox.files.exists("/a") is True
    assert sandbox.files.exists("/b") is False


def test_mounts_are_listed_added_and_removed(
    sandbox: SandboxHandle, daemon: FakeDaemon
) -> None:
    mount = WorkspaceMount("/srv/a b", "/workspace", True)
    daemon.answer(200, {"mounts": [mount.to_dict()]})
    daemon.answer(201, mount.to_dict())
    daemon.answer(204, None)
    assert sandbox.mounts.list() == [mount]
    sandbox.mounts.add(mount)
    sandbox.mounts.remove("/a b")
    assert [(request.method, request.path) for request in daemon.seen] == [
        ("GET", "/v1/sandboxes/sbx-unit/mounts"),
        ("POST", "/v1/sandboxes/sbx-unit/mounts"),
        ("DELETE", "/v1/sandboxes/sbx-unit/mounts"),
    ]
    assert daemon.seen[1].body == mount.to_dict()
    assert daemon.seen[2].query == {"guest_path": ["/a b"]}


def test_remove_runs_rm_in_the_guest(
    sandbox: SandboxHandle, daemon: FakeDaemon
) -> None:
    daemon.answer(200, OK)
    assert sandbox.files.remove("/a b").exit_code == 0
    assert commands_of(daemon) == [["rm", "-rf", "/a b"]]


def test_git_helpers_run_git(sandbox: SandboxHandle, daemon: FakeDaemon) -> None:
    for _ in range(9):
        daemon.answer(200, OK)
    git = sandbox.git
    git.clone("https://host/r.git")
    git.clone("https://host/r.git", "/w", depth=1)
    git.init("/w")
    git.add("a", "/w")
    git.add(["a", "b"], "/w")
    git.commit("text", "/w")
    git.push("/w")
    git.push("/w", "other", "main")
    git.pull("/w")
    assert commands_of(daemon) == [
        ["git", "clone", "https://host/r.git", "."],
        ["git", "clone", "--depth", "1", "https://host/r.git", "/w"],
        ["git", "init"],
        ["git", "add", "a"],
        ["git", "add", "a", "b"],
        ["git", "commit", "-m", "text"],
        ["git", "push", "origin", "HEAD"],
        ["git", "push", "other", "main"],
        ["git", "pull", "origin"],
    ]
    assert [request.body["cwd"] for request in daemon.seen] == ["/"] * 2 + ["/w"] * 7
    assert {request.body["timeout_sec"] for request in daemon.seen} == {120}


@pytest.mark.parametrize(
    "exit_code, output, clean",
    [(0, "", True), (0, " M a\n", False), (128, "", False)],
)
def test_git_status_is_clean_only_when_git_says_so(
    sandbox: SandboxHandle,
    daemon: FakeDaemon,
    exit_code: int,
    output: str,
    clean: bool,
) -> None:
    daemon.answer(200, {**OK, "stdout": "main\n"})
    daemon.answer(200, {**OK, "exit_code": exit_code, "stdout": output})
    status = sandbox.git.status("/w")
    assert (status.branch, status.clean, status.stdout) == ("main", clean, output)
    assert commands_of(daemon) == [
        ["git", "rev-parse", "--abbrev-ref", "HEAD"],
        ["git", "status", "--porcelain"],
    ]


def test_git_branches_are_names_without_marks(
    sandbox: SandboxHandle, daemon: FakeDaemon
) -> None:
    daemon.answer(200, {**OK, "stdout": "* main\n  dev\n+ feature/x\n\n"})
    assert sandbox.git.branches("/w") == ["main", "dev", "feature/x"]


def test_details_take_no_part_in_what_a_result_is() -> None:
    told = ExecResult.from_dict({**OK, "ended_by": "exit", "truncated": True})
    by_hand = ExecResult(0, "", "")
    assert told == by_hand
    assert repr(told) == repr(by_hand)
    assert dataclasses.asdict(told) == dataclasses.asdict(by_hand)
    assert (told.truncated, told.timed_out) == (True, False)
    assert (by_hand.ended_by, by_hand.details) == (None, {})
    assert copy.deepcopy(told).details == told.details


def test_absent_fields_of_a_result_are_empty() -> None:
    assert ExecResult.from_dict({"artifacts": None}) == ExecResult(0, "", "", [])
