#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Drives `sandforged serve` over real sockets, with the in-memory backend: every route, bad input, disconnects.

Usage: http_test.py SANDFORGED [unittest arguments]. Only the standard library is used.
"""

from __future__ import annotations

import base64
import concurrent.futures
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path
from typing import Any, List

from http_harness import LIMIT, Answer, Base, Daemon, program, read_answer, read_pipelined, until


class Sandboxes(Base):
    def test_health(self) -> None:
        answer = self.call("GET", "/healthz")
        self.assertEqual((answer.status, answer.body), (200, b'{"status":"ok"}\n'))
        self.assertEqual(answer.headers["content-type"], "application/json")

    def test_head_has_no_body(self) -> None:
        answer = self.call("HEAD", "/healthz")
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertEqual(answer.headers["content-length"], "16")

    def test_info_names_backends_and_limits(self) -> None:
        info = self.call("GET", "/v1/info").json
        self.assertRegex(info["version"], r"^\d+\.\d+\.\d+$")
        fake = [b for b in info["backends"] if b["name"] == "fake"][0]
        self.assertEqual((fake["available"], fake["isolation"]), (True, "none"))
        self.assertEqual(info["limits"]["http_body_bytes_max"], 64 * 1024 * 1024)

    def test_life_of_a_sandbox(self) -> None:
        made = self.call("POST", "/v1/sandboxes", {"id": "life.1", "spec": {"backend": "fake", "memoryMb": 256}})
        self.assertEqual(made.status, 201, made.body)
        self.assertEqual(made.json["id"], "life.1")
        self.assertEqual((made.json["state"], made.json["backend"], made.json["memory_mb"]), ("ready", "fake", 256))
        listed = self.call("GET", "/v1/sandboxes").json["sandboxes"]
        self.assertIn("life.1", [s["id"] for s in listed])
        self.assertEqual(self.call("GET", "/v1/sandboxes?state=error").json["sandboxes"], [])
        self.check_error(self.call("POST", "/v1/sandboxes", {"id": "life.1", "spec": {"backend": "fake"}}), 409, "id_taken")
        again = self.call("POST", "/v1/sandboxes", {"id": "life.1", "spec": {"backend": "fake"}})
        self.assertEqual(again.json["error"], "sandbox ID already exists")
        self.assertEqual(self.call("DELETE", "/v1/sandboxes/life.1").status, 204)
        self.assertEqual(self.call("GET", "/v1/sandboxes/life.1").json["state"], "destroyed")
        self.assertEqual(self.call("DELETE", "/v1/sandboxes/life.1").status, 204)
        gone = self.call("POST", "/v1/sandboxes/life.1/exec", {"command": ["true"]})
        self.check_error(gone, 404, "sandbox_destroyed")
        self.check_error(self.call("GET", "/v1/sandboxes/life.1/files?path=/"), 404, "sandbox_destroyed")

    def test_absent_id_is_generated(self) -> None:
        self.assertRegex(self.create(), r"^sbx-[0-9a-f]{16}$")

    def test_unknown_sandbox_is_404_everywhere(self) -> None:
        for method, path, body in [("GET", "", None), ("DELETE", "", None), ("POST", "/exec", {"command": ["true"]}),
                                   ("GET", "/files?path=/", None), ("GET", "/stat?path=/", None),
                                   ("GET", "/files/read?path=/", None), ("PUT", "/files", {"guest_path": "/a", "data": ""}),
                                   ("GET", "/pty", None), ("GET", "/files/content?path=/a", None)]:
            with self.subTest(method=method, path=path):
                answer = self.call(method, f"/v1/sandboxes/nobody{path}", body)
                self.assertEqual(self.check_error(answer, 404)["error"], "sandbox not found")

    def test_bad_specs_are_422_and_leave_nothing(self) -> None:
        for spec in [{"backend": "no-such"}, {"backend": "fake", "cpu": -1}, {"backend": "fake", "cpu": 10**6},
                     {"backend": "fake", "memory_mb": 1}, {"backend": "fake", "disk_gb": 10**9},
                     {"backend": "fake", "timeout_sec": -5}, {"backend": "fake", "network_mode": "moon"},
                     {"backend": "fake", "task_isolation": "none"}]:
            with self.subTest(spec=spec):
                answer = self.call("POST", "/v1/sandboxes", {"id": "bad", "spec": spec})
                self.check_error(answer, 422)
        self.assertEqual(self.call("GET", "/v1/sandboxes/bad").status, 404)

    def test_failed_create_leaves_a_record_that_can_be_deleted(self) -> None:
        answer = self.call("POST", "/v1/sandboxes", {"id": "fake-fail-launch", "spec": {"backend": "fake"}})
        self.assertGreaterEqual(answer.status, 400, answer.body)
        record = self.call("GET", "/v1/sandboxes/fake-fail-launch").json
        self.assertEqual(record["state"], "error")
        self.assertTrue(record["failure"])
        self.assertEqual(self.call("DELETE", "/v1/sandboxes/fake-fail-launch").status, 204)

    def test_malformed_create_bodies_are_400(self) -> None:
        for raw in [b"", b"{", b"[]", b"nul", b'{"id":1}', b'{"spec":[]}', b'{"spec":{"cpu":"2"}}', b'{"spec":{"cpu":1.5}}',
                    b'{"spec":{"cpu":9223372036854775808}}', b'{"a":' + b"[" * 10**6, b'{"id":"a"} {}', b'{"id":"\xff"}']:
            with self.subTest(raw=raw[:40]):
                answer = self.call("POST", "/v1/sandboxes", raw=raw)
                self.assertTrue(self.check_error(answer, 400)["error"].startswith("invalid request body: "))

    def test_malformed_ids_are_400(self) -> None:
        for body_id in ["a/b", "../x", "-a", "a" * 129, "\u00e4"]:
            self.check_error(self.call("POST", "/v1/sandboxes", {"id": body_id, "spec": {"backend": "fake"}}), 400)
        for path_id in ["..%2fa", "a%00", "%2e%2e", "a%2Fb", "~a", "a" * 129, "a%", "a%zz"]:
            with self.subTest(path_id=path_id):
                self.check_error(self.call("GET", f"/v1/sandboxes/{path_id}"), 400)

    def test_same_id_created_100_times_at_once_exists_once(self) -> None:
        body = {"id": "race", "spec": {"backend": "fake"}}
        self.addCleanup(self.call, "DELETE", "/v1/sandboxes/race")
        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(lambda _: self.call("POST", "/v1/sandboxes", body).status, range(100)))
        self.assertEqual((answers.count(201), answers.count(409)), (1, 99))

    def test_unknown_routes_and_methods(self) -> None:
        self.check_error(self.call("GET", "/nope"), 404, "no_such_route")
        wrong = self.call("PATCH", "/v1/sandboxes")
        self.check_error(wrong, 405, "method_not_allowed")
        self.assertEqual(wrong.headers["allow"], "GET, HEAD, POST")
        self.check_error(self.call("DELETE", "/healthz"), 405)

    def test_terminal_is_refused_before_the_upgrade(self) -> None:
        answer = self.call("GET", f"/v1/sandboxes/{self.create()}/pty?cols=80&rows=24&cmd=sh",
                           headers={"Connection": "Upgrade", "Upgrade": "websocket"})
        self.assertIn("remediation", self.check_error(answer, 422, "terminal_unsupported"))


class Commands(Base):
    def test_exec_answers_every_field(self) -> None:
        result = self.run_in(self.create(), ["echo", "Hello, Sandforge!"])
        self.assertEqual(result["stdout"], "Hello, Sandforge!\n")
        self.assertEqual((result["exit_code"], result["exitCode"]), (0, 0))
        self.assertEqual((result["stderr"], result["artifacts"]), ("", []))
        self.assertEqual((result["ended_by"], result["timed_out"], result["truncated"]), ("exit", False, False))
        self.assertEqual((result["stdout_bytes"], result["stderr_bytes"]), (18, 0))
        self.assertIn("wall_ms", result)

    def test_environment_directory_and_input(self) -> None:
        sandbox = self.create()
        self.assertEqual(self.run_in(sandbox, ["sh", "-c", "echo $A"], env={"A": "b c"})["stdout"], "b c\n")
        self.assertEqual(self.run_in(sandbox, ["pwd"], cwd="/tmp")["stdout"], "/tmp\n")
        data = bytes(range(32, 127)) * 5000
        for form in [base64.b64encode(data).decode(), list(data)]:
            self.assertEqual(self.run_in(sandbox, ["cat"], stdin=form)["stdout"].encode(), data)

    def test_endings(self) -> None:
        sandbox = self.create()
        self.assertEqual(self.run_in(sandbox, ["false"])["exit_code"], 1)
        missing = self.run_in(sandbox, ["no-such-program"])
        self.assertEqual(missing["exit_code"], 127)
        self.assertTrue(missing["stderr"])
        slow = self.run_in(sandbox, ["sleep", "60"], timeout_sec=1)
        self.assertEqual((slow["exit_code"], slow["timed_out"], slow["ended_by"]), (124, True, "timeout"))

    def test_invalid_utf8_is_repaired_in_text(self) -> None:
        result = self.run_in(self.create(), ["printf", "a\\377b"])
        self.assertEqual((result["stdout"], result["stdout_bytes"]), ("a\ufffdb", 3))

    def test_output_beyond_the_cap_is_drained_and_counted(self) -> None:
        size = 20 * 1024 * 1024
        sandbox = self.create()
        path = f"/v1/sandboxes/{sandbox}/files/content?path=/big"
        self.assertEqual(self.call("PUT", path, raw=b"0123456789abcdef" * (size // 16)).status, 200)
        result = self.run_in(sandbox, ["cat", "/big"])
        self.assertEqual(len(result["stdout"]), 16 * 1024 * 1024)
        self.assertEqual((result["stdout_bytes"], result["truncated"]), (size, True))

    def test_bad_commands(self) -> None:
        path = f"/v1/sandboxes/{self.create()}/exec"
        for body in [{}, {"command": []}, {"command": None}, {"command": [""]}]:
            self.assertEqual(self.check_error(self.call("POST", path, body), 400)["error"], "command is required")
        for body in [{"command": "ls"}, {"command": [1]}, {"command": ["a\0b"]}, {"command": ["true"], "env": {"A=B": "1"}},
                     {"command": ["true"], "env": []}, {"command": ["true"], "cwd": "/\0"}]:
            with self.subTest(body=body):
                self.check_error(self.call("POST", path, body), 400)
        for body in [{"command": ["true"], "timeout_sec": -1}, {"command": ["x" * 200_000]}]:
            self.check_error(self.call("POST", path, body), 422)

    def test_many_at_once_hold_no_worker(self) -> None:
        sandbox = self.create()
        clients = []
        for _ in range(100):
            client = self.daemon.connect()
            body = b'{"command":["sleep","60"]}'
            client.sendall(f"POST /v1/sandboxes/{sandbox}/exec HTTP/1.1\r\nHost: localhost\r\n"
                           f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
            clients.append(client)
        until("executing", lambda: self.call("GET", f"/v1/sandboxes/{sandbox}").json["state"] == "executing")
        self.assertEqual(self.run_in(sandbox, ["echo", "x"])["stdout"], "x\n")
        for client in clients:
            client.close()
        until("ready again: commands end with their clients",
              lambda: self.call("GET", f"/v1/sandboxes/{sandbox}").json["state"] == "ready")

    def test_destroy_ends_a_running_command_with_a_verdict(self) -> None:
        sandbox = self.create()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            running = pool.submit(self.call, "POST", f"/v1/sandboxes/{sandbox}/exec", {"command": ["sleep", "60"]})
            until("executing", lambda: self.call("GET", f"/v1/sandboxes/{sandbox}").json["state"] == "executing")
            self.assertEqual(self.call("DELETE", f"/v1/sandboxes/{sandbox}").status, 204)
            answer = running.result(LIMIT)
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual((answer.json["ended_by"], answer.json["exit_code"]), ("killed", 137))

    def test_a_long_command_trickles_spaces(self) -> None:
        sandbox = self.create()
        body = b'{"command":["sleep","17"]}'
        head = f"POST /v1/sandboxes/{sandbox}/exec HTTP/1.%d\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        with self.daemon.connect() as new, self.daemon.connect() as old:
            new.sendall((head % 1).encode() + body)
            old.sendall((head % 0).encode() + body)
            first, second = read_answer(new), read_answer(old)
        self.assertEqual(first.headers["transfer-encoding"], "chunked")
        for answer in (first, second):
            self.assertTrue(answer.body.startswith(b" {"))
            self.assertEqual(answer.json["exit_code"], 0)


class Files(Base):
    def setUp(self) -> None:
        self.sandbox = self.create()
        self.root = f"/v1/sandboxes/{self.sandbox}"

    def write(self, path: str, data: bytes) -> Answer:
        return self.call("PUT", f"{self.root}/files", {"guest_path": path, "data": base64.b64encode(data).decode()})

    def test_write_read_list_stat_in_every_form(self) -> None:
        data = bytes(range(256))
        self.assertEqual(self.write("/w/a.bin", data).json, {"size": 256})
        as_numbers = self.call("PUT", f"{self.root}/files", {"guestPath": "/w/b.bin", "data": list(data)})
        self.assertEqual(as_numbers.json, {"size": 256})
        for name in ("a.bin", "b.bin"):
            self.assertEqual(self.call("GET", f"{self.root}/files/read?path=/w/{name}").json["data"], list(data))
        encoded = self.call("GET", f"{self.root}/files/read?path=/w/a.bin&encoding=base64").json["data"]
        self.assertEqual(base64.b64decode(encoded), data)
        raw = self.call("GET", f"{self.root}/files/read?path=/w/a.bin", headers={"Accept": "application/octet-stream"})
        self.assertEqual((raw.headers["content-type"], raw.body), ("application/octet-stream", data))
        entries = self.call("GET", f"{self.root}/files?path=/w").json["entries"]
        self.assertEqual([e["name"] for e in entries], ["a.bin", "b.bin"])
        entry = self.call("GET", f"{self.root}/stat?path=/w/a.bin").json
        self.assertEqual((entry["size"], entry["mode"], entry["posix_mode"]), (256, 0o644, 0o100644))
        self.assertEqual((entry["is_dir"], entry["isDir"]), (False, False))
        self.assertEqual(entry["mod_time"], entry["modTime"])
        directory = self.call("GET", f"{self.root}/stat?path=/w").json
        self.assertEqual((directory["mode"], directory["is_dir"]), (2**31 | 0o755, True))

    def test_paths_are_decoded_leniently(self) -> None:
        self.assertEqual(self.write("/w/a b%c", b"x").status, 200)
        for path in ["/w/a+b%25c", "/w/a%20b%c", "%2Fw%2Fa%20b%25c"]:
            self.assertEqual(self.call("GET", f"{self.root}/files/read?path={path}").json["data"], [120], path)

    def test_guest_errors_are_422(self) -> None:
        self.check_error(self.call("GET", f"{self.root}/files/read?path=/none"), 422)
        self.check_error(self.call("GET", f"{self.root}/stat?path=/none"), 422)
        self.check_error(self.call("GET", f"{self.root}/files?path=/none"), 422)
        self.check_error(self.call("GET", f"{self.root}/files/read?path=/"), 422)
        self.check_error(self.call("DELETE", f"{self.root}/files?path=/none"), 422)

    def test_missing_and_malformed_parameters_are_400(self) -> None:
        for path in ["files", "files/read", "stat", "files/content", "files?path="]:
            answer = self.call("GET", f"{self.root}/{path}")
            self.assertEqual(self.check_error(answer, 400)["error"], "path query param is required")
        answer = self.call("PUT", f"{self.root}/files", {"data": "aGk="})
        self.assertEqual(self.check_error(answer, 400)["error"], "guest_path is required")
        for body in [{"guest_path": "/a", "data": "%"}, {"guest_path": "/a", "data": [256]}, {"guest_path": 1}]:
            self.check_error(self.call("PUT", f"{self.root}/files", body), 400)
        self.check_error(self.call("GET", f"{self.root}/stat?path=relative"), 400)
        self.check_error(self.call("GET", f"{self.root}/stat?path=/a%00b"), 400)

    def test_mkdir_move_and_remove(self) -> None:
        self.assertEqual(self.call("POST", f"{self.root}/files/mkdir", {"path": "/d/e", "parents": True}).status, 204)
        self.check_error(self.call("POST", f"{self.root}/files/mkdir", {"path": "/d/e"}), 422)
        self.write("/d/e/f", b"1")
        self.assertEqual(self.call("POST", f"{self.root}/files/move", {"from": "/d/e/f", "to": "/d/g"}).status, 204)
        self.assertEqual([e["name"] for e in self.call("GET", f"{self.root}/files?path=/d").json["entries"]], ["e", "g"])
        self.check_error(self.call("DELETE", f"{self.root}/files?path=/d"), 422)
        self.assertEqual(self.call("DELETE", f"{self.root}/files?path=/d&recursive=true").status, 204)
        self.check_error(self.call("GET", f"{self.root}/stat?path=/d"), 422)

    def test_content_streams_more_than_the_read_cap(self) -> None:
        data = os.urandom(1 << 20) * 20
        put = self.call("PUT", f"{self.root}/files/content?path=/w/big", raw=data)
        self.assertEqual((put.status, put.json), (200, {"size": len(data)}))
        got = self.call("GET", f"{self.root}/files/content?path=/w/big")
        self.assertEqual((got.status, got.body == data), (200, True))
        self.assertEqual(self.call("HEAD", f"{self.root}/files/content?path=/w/big").headers["content-length"], str(len(data)))
        self.assertIn("files/content", self.check_error(self.call("GET", f"{self.root}/files/read?path=/w/big"), 413)["remediation"])

    def test_content_accepts_chunked_uploads_and_keeps_the_connection(self) -> None:
        with self.daemon.connect() as client:
            client.sendall(f"PUT {self.root}/files/content?path=/w/c HTTP/1.1\r\nHost: localhost\r\n"
                           "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n".encode())
            self.assertEqual(client.recv(100), b"HTTP/1.1 100 Continue\r\n\r\n")
            client.sendall(b"4\r\nwiki\r\n5\r\npedia\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            first, second = read_pipelined(client, 2)
        self.assertEqual((first.json, second.json), ({"size": 9}, {"status": "ok"}))
        self.assertEqual(self.call("GET", f"{self.root}/files/content?path=/w/c").body, b"wikipedia")

    def test_a_broken_off_upload_leaves_nothing(self) -> None:
        with self.daemon.connect() as client:
            client.sendall(f"PUT {self.root}/files/content?path=/w/half HTTP/1.1\r\nHost: localhost\r\n"
                           "Content-Length: 1000000\r\n\r\n".encode() + b"x" * 1000)
        until("idle", lambda: self.call("GET", self.root).json["state"] == "ready")
        self.check_error(self.call("GET", f"{self.root}/stat?path=/w/half"), 422)

    def test_json_bodies_beyond_the_cap_are_413(self) -> None:
        with self.daemon.connect() as client:
            client.sendall(f"PUT {self.root}/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: {1 << 30}\r\n\r\n".encode())
            self.assertEqual(read_answer(client).status, 413)

    def test_an_empty_file(self) -> None:
        self.assertEqual(self.write("/w/empty", b"").json, {"size": 0})
        self.assertEqual(self.call("GET", f"{self.root}/files/read?path=/w/empty").json, {"data": []})
        self.assertEqual(self.call("GET", f"{self.root}/files/content?path=/w/empty").body, b"")


class Connections(Base):
    def test_ambiguous_framing_is_refused_and_closed(self) -> None:
        get = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
        post = b"POST /v1/sandboxes HTTP/1.1\r\nHost: localhost\r\n"
        smuggled = b"\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
        cases = [
            (post + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n" + smuggled, b"400"),
            (post + b"Content-Length: 4\r\nContent-Length: 5\r\n" + smuggled, b"400"),
            (post + b"Content-Length: 4, 4\r\n" + smuggled, b"400"),
            (post + b"Transfer-Encoding: xchunked\r\n" + smuggled, b"501"),
            (post + b"Transfer-Encoding : chunked\r\n" + smuggled, b"400"),
            (post + b"X: a\r\n Transfer-Encoding: chunked\r\n" + smuggled, b"400"),
            (post + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
            (get.replace(b"\r\n", b"\n") + b"\n", b"400"),
            (get + b"Host: localhost\r\n\r\n", b"400"),
            (b"GET /healthz HTTP/1.1\r\n\r\n", b"400"),
            (b"GET /healthz HTTP/2.0\r\n\r\n", b"505"),
            (b"\x16\x03\x01\x02\x00\n", b"400"),
            (get + b"X: " + b"a" * 40000 + b"\r\n\r\n", b"431"),
            (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"414"),
            (get + b"".join(b"x%d: y\r\n" % i for i in range(200)) + b"\r\n", b"431"),
        ]
        for data, status in cases:
            with self.subTest(data=data[:80]), self.daemon.connect() as client:
                client.sendall(data)
                out = b""
                while chunk := client.recv(65536):
                    out += chunk
                self.assertEqual(out.split(b" ", 2)[1], status, out[:200])
                self.assertEqual(out.count(b"Content-Length: "), 1, "one answer only")

    def test_pipelined_requests_are_answered_in_order(self) -> None:
        request = b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with self.daemon.connect() as client:
            client.sendall(request % b"healthz" + request % b"nope" + request % b"v1/sandboxes" + request % b"healthz")
            self.assertEqual([a.status for a in read_pipelined(client, 4)], [200, 404, 200, 200])

    def test_http_1_0_closes_unless_asked(self) -> None:
        self.assertIn(b"200 OK", self.read_to_end(b"GET /healthz HTTP/1.0\r\n\r\n"))
        with self.daemon.connect() as client:
            for _ in range(2):
                client.sendall(b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                self.assertEqual(read_answer(client).headers["connection"], "keep-alive")

    def read_to_end(self, data: bytes) -> bytes:
        with self.daemon.connect() as client:
            client.sendall(data)
            out = b""
            while chunk := client.recv(65536):
                out += chunk
            return out

    def test_heads_in_pieces(self) -> None:
        with self.daemon.connect() as client:
            for byte in b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n":
                client.sendall(bytes([byte]))
            self.assertEqual(read_answer(client).status, 200)

    def test_a_slow_head_ends_after_ten_seconds(self) -> None:
        with self.daemon.connect() as client:
            client.sendall(b"GET /healthz HT")
            started = time.monotonic()
            self.assertEqual(read_answer(client).status, 408)
            self.assertLess(time.monotonic() - started, 30)

    def test_foreign_hosts_and_origins_are_refused(self) -> None:
        self.check_error(self.call("GET", "/healthz", headers={"Host": "evil.example"}), 403, "foreign_host")
        for origin in ["http://evil.example", "null", "http://localhost:1"]:
            self.check_error(self.call("GET", "/healthz", headers={"Origin": origin}), 403, "foreign_origin")
        for host in ["localhost", "127.0.0.1:1234", "[::1]"]:
            self.assertEqual(self.call("GET", "/healthz", headers={"Host": host}).status, 200)
        self.assertEqual(self.call("GET", "/healthz", headers={"Origin": "http://localhost"}).status, 200)

    def test_many_idle_connections(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        idle = [self.daemon.connect() for _ in range(min(1000, hard - 100))]
        try:
            started = time.monotonic()
            self.assertEqual(self.call("GET", "/healthz").status, 200)
            self.assertLess(time.monotonic() - started, 10)
        finally:
            for client in idle:
                client.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        until("connections gone", lambda: self.daemon.open_files() < 200)

    def test_a_client_that_leaves_during_create_leaves_no_sandbox(self) -> None:
        body = json.dumps({"id": "fake-fail-hello", "spec": {"backend": "fake"}}).encode()
        client = self.daemon.connect()
        client.sendall(f"POST /v1/sandboxes HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        until("begun", lambda: self.call("GET", "/v1/sandboxes/fake-fail-hello").status == 200)
        client.close()
        until("destroyed", lambda: self.call("GET", "/v1/sandboxes/fake-fail-hello").json.get("state") in ("destroyed", None))

    def test_requests_are_logged_on_one_line(self) -> None:
        self.call("GET", "/v1/sandboxes/log-me")
        until("logged", lambda: "path=/v1/sandboxes/log-me status=404" in self.daemon.read_log())

    def test_descriptors_return_to_their_number(self) -> None:
        sandbox = self.create()
        self.run_in(sandbox, ["true"])
        before = self.daemon.open_files()
        for _ in range(200):
            self.run_in(sandbox, ["true"])
        until("as before", lambda: self.daemon.open_files() <= before + 2)


class UnixSocket(Base):
    directory = tempfile.mkdtemp(prefix="sandforge-http-")
    listen = f"unix:{directory}/api.sock"

    @classmethod
    def tearDownClass(cls) -> None:
        super().tearDownClass()
        gone = not os.path.exists(f"{cls.directory}/api.sock")
        shutil.rmtree(cls.directory)
        assert gone, "the socket file stayed"

    def test_answers_whatever_the_host(self) -> None:
        self.assertEqual(self.call("GET", "/healthz", headers={"Host": "anything"}).status, 200)
        self.check_error(self.call("GET", "/healthz", headers={"Origin": "http://anything"}), 403)

    def test_is_private(self) -> None:
        self.assertEqual(os.stat(f"{self.directory}/api.sock").st_mode & 0o777, 0o700 & 0o777 & ~0o077)

    def test_a_second_server_does_not_take_it(self) -> None:
        result = subprocess.run([program(), "serve", "--listen", self.listen, "--state-dir", f"{self.directory}/s"],
                                capture_output=True, timeout=LIMIT)
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"remedy:", result.stderr)
        self.assertEqual(self.call("GET", "/healthz").status, 200)


class SetLimits(Base):
    """The caps that an operator may set are reported and hold."""

    flags = ("--max-body", "1", "--max-file-read", "2", "--max-output", "3", "--max-connections", "4")

    def test_they_are_reported(self) -> None:
        limits = self.call("GET", "/v1/info").json["limits"]
        mib = 1024 * 1024
        self.assertEqual((limits["http_body_bytes_max"], limits["http_files_read_bytes_max"]), (mib, 2 * mib))
        self.assertEqual((limits["http_exec_stream_bytes_max"], limits["http_connections_max"]), (3 * mib, 4))

    def test_they_hold(self) -> None:
        sandbox = self.create()
        root = f"/v1/sandboxes/{sandbox}"
        self.assertIn("larger than 1 MiB", self.check_error(self.call("PUT", f"{root}/files", raw=b" " * 1048577), 413)["error"])
        size = 3 * 1024 * 1024 + 1
        self.assertEqual(self.call("PUT", f"{root}/files/content?path=/big", raw=b"x" * size).status, 200)
        self.assertIn("(2 MiB)", self.check_error(self.call("GET", f"{root}/files/read?path=/big"), 413)["error"])
        result = self.run_in(sandbox, ["cat", "/big"])
        self.assertEqual((len(result["stdout"]), result["stdout_bytes"], result["truncated"]), (size - 1, size, True))

    def test_a_connection_too_many_waits_for_its_turn(self) -> None:
        idle = [self.daemon.connect() for _ in range(4)]
        for client in idle:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertEqual(read_answer(client).status, 200)
        with self.daemon.connect() as waiting:
            waiting.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            waiting.settimeout(0.3)
            with self.assertRaises(TimeoutError):
                waiting.recv(1)
            waiting.settimeout(LIMIT)
            for client in idle:
                client.close()
            self.assertEqual(read_answer(waiting).status, 200)

    def test_nonsense_is_a_usage_error(self) -> None:
        for flag, value in (("--max-body", "0"), ("--max-body", "1025"), ("--max-output", "-1"), ("--max-connections", "many")):
            result = subprocess.run([program(), "serve", flag, value], capture_output=True, timeout=LIMIT)
            self.assertEqual(result.returncode, 2, (flag, value))
            self.assertIn(flag.encode(), result.stderr)


class Tokens(Base):
    directory = tempfile.mkdtemp(prefix="sandforge-http-")
    flags = ("--token-file", f"{directory}/tokens")

    @classmethod
    def setUpClass(cls) -> None:
        Path(cls.directory, "tokens").write_text("# mine\n0123456789abcdef\n")
        super().setUpClass()

    @classmethod
    def tearDownClass(cls) -> None:
        super().tearDownClass()
        shutil.rmtree(cls.directory)

    def test_a_token_is_required(self) -> None:
        answer = self.call("GET", "/v1/sandboxes")
        self.check_error(answer, 401, "unauthorized")
        self.assertEqual(answer.headers["www-authenticate"], "Bearer")
        self.check_error(self.call("GET", "/v1/sandboxes", headers={"Authorization": "Bearer wrong"}), 401)
        good = self.call("GET", "/v1/sandboxes", headers={"Authorization": "Bearer 0123456789abcdef"})
        self.assertEqual(good.status, 200)
        self.assertEqual(self.call("GET", "/healthz").status, 200)


class Starting(unittest.TestCase):
    """What happens before and after a daemon serves."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="sandforge-http-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)

    def run_program(self, *words: str, **options: Any) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run([program(), *words], capture_output=True, timeout=LIMIT, stdin=subprocess.DEVNULL, **options)

    def serve(self, *flags: str) -> "subprocess.CompletedProcess[bytes]":
        return self.run_program("serve", "--state-dir", str(self.directory / "s"), *flags)

    def test_an_occupied_port_is_a_clear_error(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            result = self.serve("--listen", f"127.0.0.1:{taken.getsockname()[1]}")
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"cannot listen on 127.0.0.1", result.stderr)
        self.assertIn(b"remedy:", result.stderr)

    def test_addresses_that_are_refused(self) -> None:
        for address in ["0.0.0.0:0", "[::]:0", "8080", "127.0.0.1:x", "127.0.0.1:99999", "example.com:80", "unix:",
                        "unix:" + "x" * 200, "127.0.0.1:"]:
            with self.subTest(address=address):
                result = self.serve("--listen", address)
                self.assertEqual(result.returncode, 1, result.stderr)
                self.assertIn(b"remedy:", result.stderr)

    def test_a_state_directory_that_cannot_be_made(self) -> None:
        (self.directory / "file").write_text("")
        result = self.run_program("serve", "--listen", "127.0.0.1:0", "--state-dir", str(self.directory / "file" / "s"))
        self.assertEqual(result.returncode, 1)
        self.assertTrue(result.stderr)

    def test_a_stale_socket_is_replaced(self) -> None:
        path = self.directory / "old.sock"
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))
        daemon = Daemon(listen=f"unix:{path}")
        self.assertEqual(daemon.stop(signal.SIGINT), 0)
        daemon.remove()

    def test_a_file_in_the_way_is_not_removed(self) -> None:
        path = self.directory / "precious"
        path.write_text("data")
        self.assertEqual(self.serve("--listen", f"unix:{path}").returncode, 1)
        self.assertEqual(path.read_text(), "data")

    def test_a_stop_ends_commands_and_sandboxes(self) -> None:
        daemon = Daemon()
        client = daemon.connect()
        body = b'{"id":"a","spec":{"backend":"fake"}}'
        client.sendall(b"POST /v1/sandboxes HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        self.assertEqual(read_answer(client).status, 201)
        body = b'{"command":["sleep","600"]}'
        client.sendall(b"POST /v1/sandboxes/a/exec HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        other = daemon.connect()

        def executing() -> bool:
            other.sendall(b"GET /v1/sandboxes/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return bool(read_answer(other).json["state"] == "executing")

        until("executing", executing)
        started = time.monotonic()
        stopper = threading.Thread(target=daemon.process.send_signal, args=(signal.SIGTERM,))
        stopper.start()
        answer = read_answer(client)
        stopper.join()
        self.assertEqual((answer.status, answer.json["ended_by"]), (200, "killed"))
        self.assertEqual(daemon.process.wait(LIMIT), 0)
        self.assertLess(time.monotonic() - started, 20)
        client.close()
        other.close()
        daemon.stop()
        daemon.remove()

    def test_the_command_line(self) -> None:
        version = self.run_program("version")
        self.assertEqual(version.returncode, 0)
        self.assertRegex(version.stdout.decode(), r"^sandforged \d+\.\d+\.\d+\n$")
        for words in [["--help"], ["serve", "--help"], ["run", "--help"], ["image", "--help"], ["doctor", "--help"],
                      ["version", "--help"], ["server", "-h"]]:
            with self.subTest(words=words):
                result = self.run_program(*words)
                self.assertEqual((result.returncode, result.stdout[:6]), (0, b"usage:"))
        for words in [["--nope"], ["nope"], ["run"], ["run", "--nope", "x"], ["run", "--cpu", "x", "y"], ["image"],
                      ["image", "nope"], ["serve", "x"], ["serve", "--listen"], ["run", "--timeout", "-1", "x"],
                      ["doctor", "x"], ["run", "-e", "=x", "y"], ["serve", "--log-level", "loud"]]:
            with self.subTest(words=words):
                result = self.run_program(*words)
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertIn(b"--help", result.stderr)
        doctor = self.run_program("doctor", "--state-dir", str(self.directory / "s"))
        self.assertIn(doctor.returncode, (0, 1))
        self.assertFalse((self.directory / "s").exists())


class Run(unittest.TestCase):
    """sandforged run, with the fake backend."""

    def run_program(self, *words: str, data: bytes = b"", **options: Any) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run([program(), "run", "--backend", "fake", *words], input=data, capture_output=True, timeout=LIMIT,
                              **options)

    def test_output_and_status_are_those_of_the_command(self) -> None:
        result = self.run_program("echo", "--help", "-x")
        self.assertEqual((result.returncode, result.stdout), (0, b"--help -x\n"))
        self.assertEqual(self.run_program("--", "sh", "-c", "echo out; echo err >&2; exit 7").returncode, 7)
        self.assertEqual(self.run_program("no-such-program").returncode, 127)

    def test_input_environment_and_directory(self) -> None:
        data = os.urandom(1 << 20)
        self.assertEqual(self.run_program("cat", data=data).stdout, data)
        self.assertEqual(self.run_program("-e", "A=1", "--env=B=2", "--", "sh", "-c", "echo $A$B").stdout, b"12\n")
        self.assertEqual(self.run_program("--cwd", "/tmp", "pwd").stdout, b"/tmp\n")

    def test_a_time_out_is_124(self) -> None:
        self.assertEqual(self.run_program("--timeout", "1", "sleep", "60").returncode, 124)

    def test_a_sandbox_that_cannot_be_made_is_125(self) -> None:
        result = self.run_program("--memory", "1", "true")
        self.assertEqual(result.returncode, 125)
        self.assertTrue(result.stderr)

    def test_signals_end_the_guest_and_leave_nothing(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
                process = subprocess.Popen([program(), "run", "--backend", "fake", "--", "sh", "-c", "echo up; sleep 60"],
                                           stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env={**os.environ, "TMPDIR": directory})
                assert process.stdout is not None
                self.assertEqual(process.stdout.readline(), b"up\n")
                process.send_signal(number)
                self.assertEqual(process.wait(LIMIT), status)
                process.stdout.close()
                self.assertEqual(os.listdir(directory), [])

    def test_a_reader_that_leaves_ends_the_command(self) -> None:
        process = subprocess.Popen([program(), "run", "--backend", "fake", "yes"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        assert process.stdout is not None
        process.stdout.read(1000)
        process.stdout.close()
        self.assertEqual(process.wait(LIMIT), 141)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: http_test.py SANDFORGED [unittest arguments]")
    os.environ["SANDFORGED"] = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=1)
