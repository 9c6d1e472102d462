# SPDX-License-Identifier: Apache-2.0
"""Against a live daemon, with nothing but what the published package has too.

The same module runs with this package and with the published one. SANDFORGE_URL
names the daemon, SANDFORGE_BACKEND the backend (else the daemon chooses).
"""

import os
import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest

from sandforge import (
    Client,
    ExecRequest,
    NetworkError,
    SandboxHandle,
    SandboxNotFoundError,
    SandboxSpec,
    SandforgeException,
)

needs_guest = pytest.mark.skipif(
    os.environ.get("SANDFORGE_BACKEND") == "fake",
    reason="needs a real guest: the fake backend has neither python nor git nor pipes",
)


def test_a_sandbox_lives_from_create_to_kill(
    live_client: Client, live_spec: SandboxSpec
) -> None:
    sandbox = live_client.create_sandbox(live_spec)
    assert sandbox.id.startswith("sbx-")
    assert sandbox.info().id == sandbox.id
    assert sandbox.info().state == "ready"
    assert live_client.get_status(sandbox.id) == "ready"
    sandbox.kill()
    assert live_client.get_status(sandbox.id) == "destroyed"
    with pytest.raises(SandboxNotFoundError):
        sandbox.commands.run(["true"])


def test_output_and_exit_code_come_back(live_sandbox: SandboxHandle) -> None:
    result = live_sandbox.commands.run(["echo", "Hello, Sandforge!"])
    assert result.stdout == "Hello, Sandforge!\n"
    assert result.stderr == ""
    assert result.exit_code == 0
    assert result.artifacts == []


def test_a_command_that_fails_is_a_result(live_sandbox: SandboxHandle) -> None:
    assert live_sandbox.commands.run(["false"]).exit_code == 1


def test_a_command_that_does_not_exist_is_a_result(
    live_sandbox: SandboxHandle,
) -> None:
    result = live_sandbox.commands.run(["no-such-program"])
    assert result.exit_code == 127
    assert result.stderr


def test_exec_takes_a_request(live_client: Client, live_sandbox: SandboxHandle) -> None:
    result = live_client.exec(live_sandbox.id, ExecRequest(command=["echo", "direct"]))
    assert result.stdout == "direct\n"


def test_environment_and_directory_reach_the_command(
    live_sandbox: SandboxHandle,
) -> None:
    result = live_sandbox.commands.run(
        ["sh", "-c", 'echo "$MY_VAR"; pwd; echo oops >&2; exit 7'],
        cwd="/tmp",
        env={"MY_VAR": "Hellö World"},
        timeout_sec=30,
    )
    assert result.stdout == "Hellö World\n/tmp\n"
    assert result.stderr == "oops\n"
    assert result.exit_code == 7


@needs_guest
def test_python_runs_in_the_guest(live_sandbox: SandboxHandle) -> None:
    result = live_sandbox.commands.run(["python", "-c", "print(6 * 7)"])
    assert result.stdout == "42\n"


def test_a_command_out_of_time_exits_with_124(live_sandbox: SandboxHandle) -> None:
    result = live_sandbox.commands.run(
        ["sh", "-c", "echo partial; exec sleep 600"], timeout_sec=2
    )
    assert result.exit_code == 124
    assert result.stdout == "partial\n"


def test_a_command_may_outlast_the_patience_of_the_client(
    live_client: Client, live_sandbox: SandboxHandle
) -> None:
    # The daemon breaks its silence every 15 s.
    with Client(live_client.base_url, timeout=17) as impatient:
        result = impatient.exec(
            live_sandbox.id,
            ExecRequest(["sh", "-c", "sleep 20; echo done"], timeout_sec=60),
        )
    assert result.stdout == "done\n"


@needs_guest
def test_commands_of_one_sandbox_run_at_once(live_sandbox: SandboxHandle) -> None:
    # Each half waits for the other: one after the other they would run out of time.
    base = "/tmp/meet-" + secrets.token_hex(4)
    script = 'mkfifo "$0" 2>/dev/null; {} "$0"; echo met'

    def half(act: str) -> str:
        return live_sandbox.commands.run(
            ["sh", "-c", script.format(act), base], timeout_sec=30
        ).stdout

    with ThreadPoolExecutor() as pool:
        said = list(pool.map(half, ["cat", "echo x >"]))
    assert said == ["x\nmet\n", "met\n"]


def test_much_output_is_complete(live_sandbox: SandboxHandle) -> None:
    line = "0123456789abcde\n"
    live_sandbox.files.write("/tmp/much", line * 65536)
    result = live_sandbox.commands.run(["cat", "/tmp/much"])
    assert result.stdout == line * 65536


def test_the_hostname_file_can_be_read(live_sandbox: SandboxHandle) -> None:
    assert live_sandbox.files.read("/etc/hostname").strip()


def test_a_file_comes_back_as_it_was_written(live_sandbox: SandboxHandle) -> None:
    text = "Zeile eins\nlinje två\n"
    assert live_sandbox.files.write("/tmp/live.txt", text) == len(text.encode())
    assert live_sandbox.files.read("/tmp/live.txt") == text
    raw = bytes(range(256))
    assert live_sandbox.files.write("/tmp/live.bin", raw) == 256
    assert live_sandbox.files.read("/tmp/live.bin", as_bytes=True) == raw


def test_an_empty_file_can_be_written_and_read(live_sandbox: SandboxHandle) -> None:
    assert live_sandbox.files.write("/tmp/empty", b"") == 0
    assert live_sandbox.files.read("/tmp/empty") == ""


def test_list_and_stat_tell_what_was_written(live_sandbox: SandboxHandle) -> None:
    live_sandbox.files.write("/tmp/live-dir/b", "12345")
    live_sandbox.files.write("/tmp/live-dir/a", "")
    listed = live_sandbox.files.list("/tmp/live-dir")
    assert [(e.name, e.size, e.is_dir) for e in listed] == [
        ("a", 0, False),
        ("b", 5, False),
    ]
    found = live_sandbox.files.stat("/tmp/live-dir/b")
    assert (found.name, found.path, found.size) == ("b", "/tmp/live-dir/b", 5)
    assert found.is_dir is False
    assert live_sandbox.files.stat("/tmp/live-dir").is_dir is True


def test_exists_tells_files_from_nothing(live_sandbox: SandboxHandle) -> None:
    live_sandbox.files.write("/tmp/there", "x")
    assert live_sandbox.files.exists("/tmp/there") is True
    assert live_sandbox.files.exists("/tmp/not-there") is False


def test_remove_takes_a_whole_directory(live_sandbox: SandboxHandle) -> None:
    live_sandbox.files.write("/tmp/gone/deep/file", "x")
    assert live_sandbox.files.remove("/tmp/gone").exit_code == 0
    assert live_sandbox.files.exists("/tmp/gone") is False


def test_reading_what_is_not_there_is_an_exception(
    live_sandbox: SandboxHandle,
) -> None:
    with pytest.raises(SandforgeException, match="^HTTP 422: ") as caught:
        live_sandbox.files.read("/tmp/not-there")
    assert not isinstance(caught.value, SandboxNotFoundError)


@needs_guest
def test_git_works_on_a_repository_of_the_guest(live_sandbox: SandboxHandle) -> None:
    tree = "/tmp/repo-" + secrets.token_hex(4)
    live_sandbox.files.write(tree + "/file", "one\n")
    git = live_sandbox.git
    assert git.init(tree).exit_code == 0
    for key, value in (("user.name", "Guest"), ("user.email", "guest@localhost")):
        set_key = live_sandbox.commands.run(["git", "config", key, value], cwd=tree)
        assert set_key.exit_code == 0
    assert git.status(tree).clean is False
    assert git.add("file", tree).exit_code == 0
    assert git.commit("first", tree).exit_code == 0
    status = git.status(tree)
    assert status.clean is True
    assert git.branches(tree) == [status.branch]


def test_an_unknown_id_is_not_found(live_client: Client) -> None:
    unknown = "sbx-" + secrets.token_hex(8)
    with pytest.raises(SandboxNotFoundError):
        live_client.get_status(unknown)
    with pytest.raises(SandboxNotFoundError):
        live_client.exec(unknown, ExecRequest(["true"]))
    with pytest.raises(SandboxNotFoundError):
        live_client.destroy(unknown)
    with pytest.raises(SandboxNotFoundError):
        SandboxHandle(live_client, unknown).files.read("/etc/hostname")


@pytest.mark.parametrize(
    "wrong",
    [
        {"backend": "no-such-backend"},
        {"cpu": 100000},
        {"cpu": -1},
        {"memory_mb": 1 << 40},
        {"disk_gb": -5},
        {"timeout_sec": -1},
        {"network_mode": "no-such-mode"},
        {"task_isolation": "no-such-isolation"},
    ],
)
def test_a_spec_that_cannot_be_is_refused(
    live_client: Client, live_spec: SandboxSpec, wrong: "dict[str, object]"
) -> None:
    spec = SandboxSpec(**{**live_spec.to_dict(), **wrong})
    with pytest.raises(SandforgeException, match="^HTTP 4[0-9][0-9]: ."):
        live_client.create_sandbox(spec)


@pytest.mark.parametrize("command", [[], [""], ["a\0b"]])
def test_a_command_that_cannot_be_is_refused(
    live_sandbox: SandboxHandle, command: "list[str]"
) -> None:
    with pytest.raises(SandforgeException, match="^HTTP 4[0-9][0-9]: ."):
        live_sandbox.commands.run(command)


def test_nobody_at_the_address_is_a_network_error() -> None:
    # Port 9 (discard) of the local host: nothing listens there.
    with pytest.raises(NetworkError):
        Client("http://127.0.0.1:9").create_sandbox()
