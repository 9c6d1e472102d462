# SPDX-License-Identifier: Apache-2.0
"""Against a live daemon: what this package has beyond the published one."""

import secrets
from pathlib import Path

import pytest

from sandforge import (
    Client,
    ExecutionError,
    InvalidSpecError,
    SandboxHandle,
    SandboxSpec,
    SandforgeException,
    WorkspaceMount,
)


def test_list_has_a_sandbox_until_it_is_killed(
    live_client: Client, live_spec: SandboxSpec
) -> None:
    sandbox = live_client.create_sandbox(live_spec)
    assert {info.id: info.state for info in live_client.list()}[sandbox.id] == "ready"
    sandbox.kill()
    assert sandbox.id not in {info.id for info in live_client.list()}


def test_info_tells_backend_and_isolation(live_sandbox: SandboxHandle) -> None:
    info = live_sandbox.info()
    assert info.backend
    assert info.isolation in ("none", "user_kernel", "software_vm", "hardware_vm")
    assert (info.backend == "fake") == (info.isolation == "none")


@pytest.mark.parametrize(
    "wrong",
    [
        SandboxSpec(cpu=100000),
        SandboxSpec(network_mode="no-such-mode"),
        SandboxSpec(task_isolation="no-such-isolation"),
        SandboxSpec(memory_mb=-1),
    ],
)
def test_a_spec_that_cannot_be_is_an_invalid_spec_error(
    live_client: Client, live_spec: SandboxSpec, wrong: SandboxSpec
) -> None:
    wrong.backend = live_spec.backend
    with pytest.raises(InvalidSpecError) as caught:
        live_client.create_sandbox(wrong)
    assert caught.value.code == "invalid_spec"
    assert caught.value.status in (400, 422)


def test_a_result_tells_how_the_command_ended(live_sandbox: SandboxHandle) -> None:
    result = live_sandbox.commands.run(["true"])
    assert (result.ended_by, result.timed_out, result.truncated) == (
        "exit",
        False,
        False,
    )


def test_a_time_out_is_told_apart_from_exit_code_124(
    live_sandbox: SandboxHandle,
) -> None:
    late = live_sandbox.commands.run(["sleep", "600"], timeout_sec=1)
    said = live_sandbox.commands.run(["sh", "-c", "exit 124"])
    assert (late.exit_code, late.timed_out, late.ended_by) == (124, True, "timeout")
    assert (said.exit_code, said.timed_out, said.ended_by) == (124, False, "exit")


def test_a_guest_that_dies_under_a_command_is_an_execution_error(
    live_client: Client, live_spec: SandboxSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    if live_spec.backend == "fake":
        # Its guest crashes at the first command when the id asks for it.
        sandbox_id = "fake-die-on-exec-" + secrets.token_hex(8)
        monkeypatch.setattr(Client, "_generate_id", staticmethod(lambda: sandbox_id))
    # With task isolation "process" a command may reach the kernel's crash trigger.
    spec = SandboxSpec(backend=live_spec.backend, task_isolation="process")
    sandbox = live_client.create_sandbox(spec)
    try:
        with pytest.raises(ExecutionError) as caught:
            sandbox.commands.run(
                ["sh", "-c", "echo c > /proc/sysrq-trigger; sleep 60"], timeout_sec=50
            )
        assert caught.value.code in ("vm_crash", "agent_lost")
    finally:
        sandbox.kill()


def test_a_path_of_any_characters_works(live_sandbox: SandboxHandle) -> None:
    path = "/tmp/a +&=#?%41 ä/" + secrets.token_hex(4)
    assert live_sandbox.files.write(path, "x") == 1
    assert live_sandbox.files.read(path) == "x"
    assert live_sandbox.files.stat(path).path == path


def test_a_large_file_comes_back_as_it_was_written(
    live_sandbox: SandboxHandle,
) -> None:
    data = secrets.token_bytes(1024) * 2048
    assert live_sandbox.files.write("/tmp/large", data) == len(data)
    assert live_sandbox.files.read("/tmp/large", as_bytes=True) == data


def test_stat_tells_the_posix_mode(live_sandbox: SandboxHandle) -> None:
    live_sandbox.files.write("/tmp/moded", "x")
    assert live_sandbox.files.stat("/tmp/moded").posix_mode == 0o100644
    mode = live_sandbox.files.stat("/tmp").posix_mode
    assert mode is not None and mode & 0o170000 == 0o040000


def test_refusals_carry_status_and_code(live_sandbox: SandboxHandle) -> None:
    with pytest.raises(SandforgeException) as caught:
        live_sandbox.files.read("/tmp/not-there")
    assert (caught.value.status, caught.value.code) == (422, "file_missing")


def test_a_mount_comes_and_goes(live_sandbox: SandboxHandle, tmp_path: Path) -> None:
    if live_sandbox.info().backend == "fake":
        pytest.skip("the in-memory backend has no mounts")
    (tmp_path / "name").write_text("host")
    live_sandbox.mounts.add(WorkspaceMount(str(tmp_path), "/mnt/live"))
    assert [mount.guest_path for mount in live_sandbox.mounts.list()] == ["/mnt/live"]
    script = "cat /mnt/live/name; echo guest > /mnt/live/back"
    assert live_sandbox.commands.run(["sh", "-c", script]).stdout == "host"
    assert (tmp_path / "back").read_text() == "guest\n"
    live_sandbox.mounts.remove("/mnt/live")
    assert live_sandbox.mounts.list() == []
    with pytest.raises(SandforgeException) as caught:
        live_sandbox.mounts.add(WorkspaceMount("/etc", "/mnt/etc"))
    assert (caught.value.status, caught.value.code) == (422, "policy_denied")
