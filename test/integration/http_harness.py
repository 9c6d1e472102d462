# SPDX-License-Identifier: Apache-2.0
"""A daemon to test against, and a client that can say what no HTTP library would."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

LIMIT = 60  # seconds for any one answer


def program() -> str:
    """The sandforged under test."""
    return os.environ["SANDFORGED"]


class Daemon:
    """One `sandforged serve` with a state directory of its own, run by `user` with `groups` where that is said."""

    def __init__(self, *flags: str, listen: str = "127.0.0.1:0", user: Optional[int] = None,
                 groups: Optional[List[int]] = None, directory: Optional[Path] = None) -> None:
        """`directory`: of a daemon that has ended, to go on with its state."""
        self.directory = directory or Path(tempfile.mkdtemp(prefix="sandforge-http-"))
        if user is not None:
            os.chown(self.directory, user, user)
        self.log = open(self.directory / "log", "w+b")
        self.process = subprocess.Popen(
            [program(), "serve", "--listen", listen, "--state-dir", str(self.directory / "state"), *flags],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, user=user, group=user,
            extra_groups=groups)
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        if not line.startswith("READY listening="):
            self.process.wait(LIMIT)
            raise AssertionError(f"no READY: {line!r}\n{self.read_log()}")
        self.address = line.strip().split("=", 1)[1]
        self.port = int(self.address.rsplit(":", 1)[1]) if self.address.startswith("http") else 0

    def read_log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            status = self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            status = -1
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.log.close()
        return status

    def remove(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    def connect(self) -> socket.socket:
        if not self.port:
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(LIMIT)
            client.connect(self.address[len("unix:"):])
            return client
        return socket.create_connection(("127.0.0.1", self.port), LIMIT)

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


class Answer:
    def __init__(self, status: int, headers: Dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def read_answer(client: socket.socket, method: str = "GET") -> Answer:
    response = http.client.HTTPResponse(client, method=method)
    response.begin()
    body = response.read()
    return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, body)


def read_pipelined(client: socket.socket, count: int) -> List[Answer]:
    """Several answers on one connection; each has a Content-Length."""
    answers = []
    stream = client.makefile("rb")
    for _ in range(count):
        status = int(stream.readline().split(b" ")[1])
        headers = {}
        while (line := stream.readline().strip()):
            name, value = line.decode().split(": ", 1)
            headers[name.lower()] = value
        answers.append(Answer(status, headers, stream.read(int(headers["content-length"]))))
    stream.close()
    return answers


def until(what: str, condition: Callable[[], bool], limit: float = LIMIT) -> None:
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {limit} s: {what}")
        time.sleep(0.02)


class Base(unittest.TestCase):
    daemon: Daemon
    flags: Tuple[str, ...] = ()
    listen = "127.0.0.1:0"

    @classmethod
    def setUpClass(cls) -> None:
        cls.daemon = Daemon(*cls.flags, listen=cls.listen)

    @classmethod
    def tearDownClass(cls) -> None:
        status = cls.daemon.stop()
        log = cls.daemon.read_log()
        cls.daemon.remove()
        if status != 0:
            raise AssertionError(f"the daemon ended with {status}\n{log[-4000:]}")

    def call(self, method: str, path: str, body: Any = None, headers: Optional[Dict[str, str]] = None,
             raw: Optional[bytes] = None) -> Answer:
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        head = {"Host": "localhost", "Content-Length": str(len(data)), **(headers or {})}
        lines = "".join(f"{k}: {v}\r\n" for k, v in head.items())
        with self.daemon.connect() as client:
            try:
                client.sendall(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + data)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused early; the answer is there to read
            return read_answer(client, method)

    def create(self, **spec: Any) -> str:
        answer = self.call("POST", "/v1/sandboxes", {"spec": {"backend": "fake", **spec}})
        self.assertEqual(answer.status, 201, answer.body)
        self.addCleanup(self.call, "DELETE", f"/v1/sandboxes/{answer.json['id']}")
        return str(answer.json["id"])

    def run_in(self, sandbox: str, command: List[str], **body: Any) -> Any:
        answer = self.call("POST", f"/v1/sandboxes/{sandbox}/exec", {"command": command, **body})
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json

    def check_error(self, answer: Answer, status: int, code: Optional[str] = None) -> Any:
        self.assertEqual(answer.status, status, answer.body)
        self.assertTrue(answer.body.endswith(b"\n"))
        self.assertIsInstance(answer.json["error"], str)
        self.assertTrue(answer.json["error"])
        if code is not None:
            self.assertEqual(answer.json["code"], code)
        return answer.json
