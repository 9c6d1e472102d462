# SPDX-License-Identifier: Apache-2.0
"""Client: what it sends, and what each kind of answer becomes."""

import re
import socket
from typing import Any
from unittest.mock import MagicMock

import pytest
from fake_daemon import FakeDaemon

from sandforge import (
    Client,
    ExecRequest,
    ExecutionError,
    InvalidSpecError,
    NetworkError,
    SandboxHandle,
    SandboxInfo,
    SandboxNotFoundError,
    SandboxSpec,
    SandforgeException,
)

TRUE = ExecRequest(["true"])


def test_create_sends_an_id_and_the_whole_spec(
    client: Client, daemon: FakeDaemon
) -> None:
    daemon.answer(201, {"id": "told-by-daemon", "state": "ready"})
    sandbox = client.create_sandbox()
    assert sandbox.id == "told-by-daemon"
    request = daemon.seen[0]
    assert (request.method, request.path) == ("POST", "/v1/sandboxes")
    assert re.fullmatch("sbx-[0-9a-f]{16}", request.body["id"])
    assert request.body["spec"] == SandboxSpec().to_dict()


def test_create_without_id_in_the_answer_keeps_its_own(
    client: Client, daemon: FakeDaemon
) -> None:
    daemon.answer(201, {})
    assert client.create_sandbox().id == daemon.seen[0].body["id"]


def test_a_trailing_slash_of_the_url_is_ignored(daemon: FakeDaemon) -> None:
    daemon.answer(200, {"id": "a", "state": "ready"})
    assert Client(daemon.url + "/").get_status("a") == "ready"
    assert daemon.seen[0].path == "/v1/sandboxes/a"


def test_an_id_cannot_leave_its_place_in_the_url(
    client: Client, daemon: FakeDaemon
) -> None:
    daemon.answer(404, {"error": "sandbox not found"})
    with pytest.raises(SandboxNotFoundError):
        client.get_info("a/../b?c")
    assert daemon.seen[0].path == "/v1/sandboxes/a%2F..%2Fb%3Fc"


def test_status_and_info_are_read(client: Client, daemon: FakeDaemon) -> None:
    daemon.answer(200, {"id": "a", "state": "executing"})
    daemon.answer(200, {"id": "a", "state": "ready", "backend": "fake", "cpu": 2})
    daemon.answer(200, {})
    assert client.get_status("a") == "executing"
    info = client.get_info("a")
    assert info == SandboxInfo("a", "ready")
    assert (info.backend, info.isolation) == ("fake", None)
    assert info.details["cpu"] == 2
    assert client.get_status("a") == "unknown"


def test_list_reads_every_sandbox(client: Client, daemon: FakeDaemon) -> None:
    daemon.answer(200, {"sandboxes": [{"id": "a", "state": "ready"}, {"id": "b"}]})
    assert client.list() == [SandboxInfo("a", "ready"), SandboxInfo("b", "")]
    assert (daemon.seen[0].method, daemon.seen[0].path) == ("GET", "/v1/sandboxes")


def test_kill_deletes_and_takes_an_empty_answer(
    sandbox: SandboxHandle, daemon: FakeDaemon
) -> None:
    daemon.answer(204)
    sandbox.kill()
    assert (daemon.seen[0].method, daemon.seen[0].path) == (
        "DELETE",
        "/v1/sandboxes/sbx-unit",
    )


def test_run_sends_the_request_and_reads_the_result(
    sandbox: SandboxHandle, daemon: FakeDaemon
) -> None:
    daemon.answer(200, {"exit_code": 3, "stdout": "o", "stderr": "e", "artifacts": []})
    result = sandbox.commands.run(["a", "b"], cwd="/w", env={"K": "V"}, timeout_sec=7)
    assert (result.exit_code, result.stdout, result.stderr) == (3, "o", "e")
    assert daemon.seen[0].path == "/v1/sandboxes/sbx-unit/exec"
    assert daemon.seen[0].body == {
        "command": ["a", "b"],
        "cwd": "/w",
        "env": {"K": "V"},
        "timeout_sec": 7,
    }


def test_spaces_before_a_late_answer_are_skipped(
    client: Client, daemon: FakeDaemon
) -> None:
    verdict = '{"exit_code":124,"stdout":"x","stderr":"","timed_out":true}\n'
    daemon.answer(200, chunks=[" ", " ", verdict])
    result = client.exec("a", TRUE)
    assert (result.exit_code, result.stdout, result.timed_out) == (124, "x", True)


@pytest.mark.parametrize("verdict", ["vm_crash", "agent_lost"])
def test_a_guest_lost_under_a_command_is_an_execution_error(
    client: Client, daemon: FakeDaemon, verdict: str
) -> None:
    daemon.answer(
        200, {"exit_code": 137, "stdout": "half", "stderr": "", "ended_by": verdict}
    )
    with pytest.raises(ExecutionError, match=f"^{verdict}: ") as caught:
        client.exec("a", TRUE)
    assert caught.value.code == verdict
    assert caught.value.result is not None
    assert caught.value.result.stdout == "half"


def test_a_lost_guest_told_as_an_error_is_an_execution_error_too(
    client: Client, daemon: FakeDaemon
) -> None:
    daemon.answer(502, {"error": "agent gone", "code": "agent_lost"})
    with pytest.raises(ExecutionError, match="^HTTP 502: agent gone$") as caught:
        client.exec("a", TRUE)
    assert caught.value.result is None


@pytest.mark.parametrize("ended_by", ["exit", "signal", "timeout", "oom", "killed"])
def test_any_other_end_of_a_command_is_a_result(
    client: Client, daemon: FakeDaemon, ended_by: str
) -> None:
    daemon.answer(
        200, {"exit_code": 1, "stdout": "", "stderr": "", "ended_by": ended_by}
    )
    assert client.exec("a", TRUE).ended_by == ended_by


def test_an_unknown_id_is_sandbox_not_found(client: Client, daemon: FakeDaemon) -> None:
    daemon.answer(404, {"error": "sandbox not found", "code": "not_found"})
    with pytest.raises(SandboxNotFoundError) as caught:
        client.destroy("gone")
    assert str(caught.value) == "Sandbox not found: sandbox not found"
    assert caught.value.status == 404


def test_a_refused_spec_is_invalid_spec(client: Client, daemon: FakeDaemon) -> None:
    daemon.answer(
        422,
        {"error": "cpu 999: at most 64", "code": "invalid_spec", "remediation": "less"},
    )
    with pytest.raises(InvalidSpecError) as caught:
        client.create_sandbox(SandboxSpec(cpu=999))
    assert str(caught.value) == "HTTP 422: cpu 999: at most 64"
    assert (caught.value.status, caught.value.code, caught.value.remediation) == (
        422,
        "invalid_spec",
        "less",
    )


def test_a_refusal_by_the_policy_names_its_rule(
    client: Client, daemon: FakeDaemon
) -> None:
    daemon.answer(
        422,
        {"error": "spec: cpu", "code": "policy_denied", "rule": "limits.cpu"},
    )
    with pytest.raises(SandforgeException) as caught:
        client.create_sandbox(SandboxSpec(cpu=8))
    assert (caught.value.code, caught.value.rule) == ("policy_denied", "limits.cpu")


@pytest.mark.parametrize(
    "status, body, text",
    [
        (409, {"error": "sandbox ID already exists"}, "sandbox ID already exists"),
        (400, {"error": "bad", "code": None, "remediation": 5}, "bad"),
        (500, {}, "Unknown error"),
        (500, ["not", "an", "object"], "Unknown error"),
        (502, "<html>", "<html>"),
        (503, None, "HTTP 503"),
    ],
)
def test_other_refusals_are_plain_exceptions_with_status_and_text(
    client: Client, daemon: FakeDaemon, status: int, body: Any, text: str
) -> None:
    daemon.answer(status, body)
    with pytest.raises(SandforgeException) as caught:
        client.get_info("a")
    assert type(caught.value) is SandforgeException
    assert str(caught.value) == f"HTTP {status}: {text}"
    assert (caught.value.status, caught.value.code) == (status, None)
    assert caught.value.remediation is None


@pytest.mark.parametrize("body", ["{", "[]", "nonsense"])
def test_an_answer_that_is_no_json_object_is_an_exception(
    client: Client, daemon: FakeDaemon, body: str
) -> None:
    daemon.answer(200, body)
    with pytest.raises(SandforgeException, match="^Invalid JSON response: "):
        client.get_info("a")


def test_a_daemon_that_is_not_there_is_a_network_error() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with pytest.raises(NetworkError, match="^Request failed: ") as caught:
            Client(f"http://127.0.0.1:{port}").create_sandbox()
    assert caught.value.status is None


def test_a_daemon_that_stays_silent_is_a_network_error(daemon: FakeDaemon) -> None:
    daemon.stall()
    with pytest.raises(NetworkError, match="^Request failed: "):
        Client(daemon.url, timeout=1).get_status("a")


def test_a_replaced_session_carries_the_requests() -> None:
    client = Client("http://unused", timeout=9)
    client.session = MagicMock()
    client.session.post.return_value = MagicMock(
        status_code=200,
        text="{}",
        json=lambda: {"exit_code": 0, "stdout": "hi", "stderr": ""},
    )
    assert client.exec("a", TRUE).stdout == "hi"
    args, kwargs = client.session.post.call_args
    assert args == ("http://unused/v1/sandboxes/a/exec",)
    assert kwargs["json"] == TRUE.to_dict()
    assert kwargs["timeout"] == 9


def test_leaving_the_block_closes_the_session() -> None:
    with Client("http://unused") as client:
        client.session = MagicMock()
    client.session.close.assert_called_once_with()
