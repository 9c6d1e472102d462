# SPDX-License-Identifier: Apache-2.0
"""Fixtures. Imported with the published package too: common names only."""

import os
from typing import Iterator

import pytest
from fake_daemon import FakeDaemon

import sandforge


def pytest_report_header() -> str:
    return f"sandforge {sandforge.__version__} from {sandforge.__file__}"


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    """A scripted HTTP server in place of the daemon."""
    fake = FakeDaemon()
    yield fake
    fake.close()


@pytest.fixture
def client(daemon: FakeDaemon) -> Iterator[sandforge.Client]:
    """A client of `daemon`."""
    with sandforge.Client(daemon.url, timeout=5) as opened:
        yield opened


@pytest.fixture
def sandbox(client: sandforge.Client) -> sandforge.SandboxHandle:
    """A handle on a sandbox that `daemon` is to answer for."""
    return sandforge.SandboxHandle(client, "sbx-unit")


@pytest.fixture(scope="module")
def live_client() -> Iterator[sandforge.Client]:
    """A client of the daemon at SANDFORGE_URL; without one the test is skipped."""
    url = os.environ.get("SANDFORGE_URL")
    if not url:
        pytest.skip("SANDFORGE_URL is not set: no daemon to test against")
    with sandforge.Client(url) as opened:
        yield opened


@pytest.fixture(scope="module")
def live_spec() -> sandforge.SandboxSpec:
    """A spec for the backend at SANDFORGE_BACKEND, or for the daemon's choice."""
    backend = os.environ.get("SANDFORGE_BACKEND")
    return (
        sandforge.SandboxSpec(backend=backend) if backend else sandforge.SandboxSpec()
    )


@pytest.fixture(scope="module")
def live_sandbox(
    live_client: sandforge.Client, live_spec: sandforge.SandboxSpec
) -> Iterator[sandforge.SandboxHandle]:
    """One running sandbox for all tests of a module."""
    created = live_client.create_sandbox(live_spec)
    yield created
    created.kill()
