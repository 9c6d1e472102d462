# SPDX-License-Identifier: Apache-2.0
"""The policy over HTTP and on the command line, with the fake backend: every refusal is a 422 with its rule."""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any, Dict, Optional

from http_harness import LIMIT, Answer, Base, Daemon, program, read_answer

POLICY = """\
[limits]
cpu = 2
memory_mb = 256
disk_gb = 4
timeout_sec = 60
sandboxes = 2
[network]
modes = ["offline", "fetch"]
[backends]
allow = ["fake"]
[mounts]
max = 2
block = ["{root}/work/secret"]
allow_read_only = ["{root}/work/reference"]
[commands]
block = ["echo forbidden"]
"""


def run(*words: str, text: Optional[str] = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([program(), "policy", *words], input=text, capture_output=True, text=True, timeout=LIMIT)


class Fixture:
    """Directories of the user who runs the tests, and a policy file."""

    def __init__(self, policy: str = POLICY) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="sandforge-policy-")
        self.root = Path(self.folder.name).resolve()
        for name in ["work/src", "work/secret/in", "work/secret2", "work/reference", "etc"]:
            (self.root / name).mkdir(parents=True)
        (self.root / "work/file").write_text("x")
        (self.root / "work/link").symlink_to(self.root / "work/secret")
        self.file = self.root / "etc/policy.toml"
        self.file.write_text(policy.replace("{root}", str(self.root)))


class Refusals(Base):
    fixture: Fixture

    @classmethod
    def setUpClass(cls) -> None:
        cls.fixture = Fixture()
        cls.flags = ("--policy", str(cls.fixture.file))
        super().setUpClass()

    @classmethod
    def tearDownClass(cls) -> None:
        super().tearDownClass()
        cls.fixture.folder.cleanup()

    def create(self, **spec: Any) -> Answer:
        return self.call("POST", "/v1/sandboxes", {"spec": {"backend": "fake", **spec}})

    def refused(self, answer: Answer, rule: str, code: str = "policy_denied") -> Dict[str, Any]:
        self.assertEqual((answer.status, answer.json.get("code"), answer.json.get("rule")), (422, code, rule),
                         answer.body)
        self.assertTrue(answer.json["remediation"])
        return dict(answer.json)

    def mount(self, path: str, read_only: bool = False) -> Answer:
        return self.create(mounts=[{"host_path": path.replace("$R", str(self.fixture.root)), "guest_path": "/workspace",
                                    "read_only": read_only}])

    def test_each_part_of_a_spec_is_refused_by_its_rule(self) -> None:
        before = self.call("GET", "/v1/sandboxes").json
        for spec, rule in [({"cpu": 3}, "limits.cpu"), ({"memory_mb": 257}, "limits.memory_mb"),
                           ({"disk_gb": 5}, "limits.disk_gb"), ({"timeout_sec": 61}, "limits.timeout_sec"),
                           ({"network_mode": "full"}, "network.modes"), ({"backend": "linux-qemu"}, "backends.allow")]:
            with self.subTest(rule=rule):
                answer = self.refused(self.create(**spec), rule)
                self.assertIn("line", answer["error"])
        self.assertEqual(self.call("GET", "/v1/sandboxes").json, before)

    def test_a_mount_of_a_running_sandbox_is_judged_too(self) -> None:
        made = self.create()
        self.assertEqual(made.status, 201)
        path = f"/v1/sandboxes/{made.json['id']}/mounts"
        for host_path, code, rule in [("work/secret", "policy_denied", "mounts.block"), ("etc", "policy_denied", "mounts.builtin.state"),
                                      ("work/link/in", "policy_denied", "mounts.block"),
                                      ("nothing", "host_path_missing", "mounts.host_path"),
                                      ("work/file", "invalid_host_path", "mounts.host_path")]:
            with self.subTest(host_path=host_path):
                self.refused(self.call("POST", path, {"host_path": str(self.fixture.root / host_path), "guest_path": "/w"}),
                             rule, code)
        allowed = self.call("POST", path, {"host_path": str(self.fixture.root / "work/src"), "guest_path": "/w"})
        self.assertEqual((allowed.status, allowed.json["code"]), (422, "mounts_unsupported"))  # by the fake backend
        self.assertEqual(self.call("DELETE", f"/v1/sandboxes/{made.json['id']}").status, 204)

    def test_what_a_policy_allows_may_still_not_exist(self) -> None:
        self.assertEqual(self.create(network_mode="fetch").json["code"], "network_unsupported")
        answer = self.mount("$R/work/src")
        self.assertEqual((answer.status, answer.json["code"]), (422, "mounts_unsupported"))

    def test_directories(self) -> None:
        for path, read_only, rule in [
                ("/", False, "mounts.builtin.kernel"), ("/proc", True, "mounts.builtin.kernel"),
                ("/etc", True, "mounts.builtin.system"), ("/usr/share", True, "mounts.builtin.system"),
                (os.path.expanduser("~"), True, "mounts.builtin.credentials"),
                (str(self.daemon.directory / "state"), False, "mounts.builtin.state"),
                (str(self.daemon.directory), False, "mounts.builtin.state"),
                ("$R/etc", True, "mounts.builtin.state"),  # the policy file
                ("$R/work/secret", False, "mounts.block"), ("$R/work/secret/in", True, "mounts.block"),
                ("$R/work/link", False, "mounts.block"), ("$R/work/link/in", False, "mounts.block"),
                ("$R/work", False, "mounts.block"), ("$R/work/reference", False, "mounts.allow_read_only")]:
            with self.subTest(path=path):
                self.refused(self.mount(path, read_only), rule)
        for path, read_only in [("$R/work/src", False), ("$R/work/secret2", False), ("$R/work/reference", True)]:
            with self.subTest(path=path):
                self.assertEqual(self.mount(path, read_only).json["code"], "mounts_unsupported")

    def test_paths_that_make_no_sense(self) -> None:
        for path, code in [("src", "invalid_spec"), ("", "invalid_spec"), ("$R/work/../work/src", "invalid_spec"),
                           ("$R/work/file", "invalid_spec"), ("$R/nothing", "host_path_missing")]:
            with self.subTest(path=path):
                answer = self.mount(path)
                self.assertEqual((answer.status, answer.json["code"]), (422, code), answer.body)
                self.assertTrue(answer.json["remediation"])
        self.assertEqual(self.mount("/tmp/\0x").status, 400)
        source = str(self.fixture.root / "work/src")
        for targets in [["src"], ["/"], ["//."], ["/proc/x"], ["/sys"], ["/dev/x"], ["/a/../b"], [""], ["/a", "/a/b"],
                        ["/a", "/a/"]]:
            with self.subTest(targets=targets):
                answer = self.create(mounts=[{"host_path": source, "guest_path": target} for target in targets])
                self.assertEqual((answer.status, answer.json["code"]), (422, "invalid_spec"), answer.body)
                self.assertIn("guest_path", answer.json["error"])
                self.assertTrue(answer.json["remediation"])
        twice = self.create(mounts=[{"host_path": source, "guest_path": "/a"}, {"host_path": source + "/", "guest_path": "/b"}])
        self.refused(twice, "mounts.distinct", "invalid_spec")
        many = [{"host_path": source, "guest_path": f"/m{i}"} for i in range(3)]
        self.refused(self.create(mounts=many), "mounts.max")
        many = [{"host_path": source, "guest_path": f"/m{i}"} for i in range(1000)]
        answer = self.create(mounts=many)
        self.assertEqual((answer.status, answer.json["code"]), (422, "invalid_spec"))
        self.assertIn("1000", answer.json["error"])

    def test_count_commands_and_defaults(self) -> None:
        ids = []
        for _ in range(2):
            answer = self.create(cpu=0)
            self.assertEqual(answer.status, 201, answer.body)
            ids.append(answer.json["id"])
        # What the spec left open is what the policy allows.
        self.assertEqual((answer.json["memory_mb"], answer.json["disk_gb"], answer.json["timeout_sec"]), (256, 4, 60))
        self.refused(self.create(), "limits.sandboxes")
        path = f"/v1/sandboxes/{ids[0]}/exec"
        self.refused(self.call("POST", path, {"command": ["echo", "forbidden"]}), "commands.block")
        self.assertEqual(self.call("POST", path, {"command": ["echo", "fine"]}).json["stdout"], "fine\n")
        for id_ in ids:
            self.assertEqual(self.call("DELETE", f"/v1/sandboxes/{id_}").status, 204)
        last = self.create()
        self.assertEqual(last.status, 201)
        self.call("DELETE", f"/v1/sandboxes/{last.json['id']}")

    def test_info_shows_the_policy_but_no_directories(self) -> None:
        policy = self.call("GET", "/v1/info").json["policy"]
        self.assertEqual(policy["limits.cpu"], "2")
        self.assertEqual(policy["network.modes"], '["offline", "fetch"]')
        self.assertFalse([key for key in policy if str(self.fixture.root) in policy[key]])


class Elsewhere(unittest.TestCase):
    """A daemon that others reach mounts listed directories only."""

    def test_own_directories_need_listing(self) -> None:
        fixture = Fixture('[mounts]\nallow = ["{root}/work/src"]\n')
        tokens = fixture.root / "etc/tokens"
        tokens.write_text("0123456789abcdef0123456789abcdef\n")
        daemon = Daemon("--token-file", str(tokens), "--policy", str(fixture.file), listen="0.0.0.0:0")
        try:
            for path, status, code in [("work/src", 422, "mounts_unsupported"), ("work/secret2", 422, "policy_denied"),
                                       ("nothing", 422, "policy_denied")]:
                body = json.dumps({"spec": {"backend": "fake", "mounts": [
                    {"host_path": str(fixture.root / path), "guest_path": "/w"}]}}).encode()
                client = daemon.connect()
                client.sendall(b"POST /v1/sandboxes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
                               b"0123456789abcdef0123456789abcdef\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                answer = read_answer(client)
                client.close()
                self.assertEqual((answer.status, answer.json["code"]), (status, code), answer.body)
        finally:
            self.assertEqual(daemon.stop(), 0)
            daemon.remove()
            fixture.folder.cleanup()


class Permission(unittest.TestCase):
    @unittest.skipUnless(os.geteuid() == 0, "needs root, to run the daemon as somebody else")
    def test_a_directory_that_the_daemon_may_not_see_says_so(self) -> None:
        fixture = Fixture("")
        os.chmod(fixture.root, 0o755)
        (fixture.root / "work").chmod(0o700)
        daemon = Daemon(user=65534)
        try:
            for path, code, rule in [("work/src", "host_path_denied", "mounts.host_path"),
                                     ("etc", "policy_denied", "mounts.own_directories")]:
                body = json.dumps({"spec": {"backend": "fake", "mounts": [
                    {"host_path": str(fixture.root / path), "guest_path": "/w"}]}}).encode()
                client = daemon.connect()
                client.sendall(b"POST /v1/sandboxes HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
                               % len(body) + body)
                answer = read_answer(client)
                client.close()
                self.assertEqual((answer.status, answer.json["code"], answer.json["rule"]), (422, code, rule), answer.body)
        finally:
            daemon.stop()
            daemon.remove()
            fixture.folder.cleanup()


class CommandLine(unittest.TestCase):
    def setUp(self) -> None:
        self.fixture = Fixture()
        self.addCleanup(self.fixture.folder.cleanup)

    def test_check_prints_every_value_with_its_origin(self) -> None:
        result = run("check", str(self.fixture.file))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r"limits\.cpu +\S* *= 2  # .*policy\.toml, line 2\n")
        self.assertRegex(result.stdout, r"mounts\.own_directories *= true  # built in, for a daemon on loopback\n")
        self.assertRegex(run("check", "--audience", "remote").stdout, r"mounts\.own_directories *= false")

    def test_a_broken_file_stops_check_and_the_daemon_with_its_place(self) -> None:
        self.fixture.file.write_text("[limits]\ncpu = 2\nmemroy_mb = 1\n")
        place = "policy.toml: line 3, column 1: unknown key \"memroy_mb\", did you mean \"memory_mb\"?"
        result = run("check", str(self.fixture.file))
        self.assertEqual(result.returncode, 2)
        self.assertIn(place, result.stderr)
        self.assertIn("remedy: ", result.stderr)
        for file in [self.fixture.file, self.fixture.root / "none.toml"]:
            serve = subprocess.run(
                [program(), "serve", "--listen", "127.0.0.1:0", "--state-dir", str(self.fixture.root / "state"), "--policy",
                 str(file)], capture_output=True, text=True, timeout=LIMIT)
            self.assertEqual(serve.returncode, 1)
            self.assertIn(place if file == self.fixture.file else "none.toml", serve.stderr)
            self.assertIn("remedy: ", serve.stderr)
            self.assertNotIn("READY", serve.stdout)

    def test_explain_tells_each_part_and_the_verdict_by_its_status(self) -> None:
        def explain(spec: Any) -> "subprocess.CompletedProcess[str]":
            return run("explain", "-", "--policy", str(self.fixture.file), text=json.dumps(spec))

        fine = explain({"spec": {"backend": "fake", "mounts": [
            {"host_path": str(self.fixture.root / "work/src"), "guest_path": "/w"}]}})
        self.assertEqual(fine.returncode, 0, fine.stdout + fine.stderr)
        self.assertIn("mounts[0].host_path", fine.stdout)
        denied = explain({"cpu": 9, "network_mode": "full"})
        self.assertEqual(denied.returncode, 1)
        self.assertRegex(denied.stdout, r"DENIED +cpu: 9 is more than 2.*\[limits\.cpu\]\n +remedy: ")
        self.assertIn("[network.modes]", denied.stdout)
        missing = explain({"mounts": [{"host_path": "/no/such/directory", "guest_path": "/w"}]})
        self.assertEqual(missing.returncode, 2)
        self.assertIn("INVALID", missing.stdout)
        self.assertEqual(explain({"cpu": -1}).returncode, 2)
        self.assertEqual(run("explain", "-", text="{").returncode, 2)
        self.assertEqual(run("explain", str(self.fixture.root / "none.json")).returncode, 2)

    def test_words_that_make_no_sense_are_2(self) -> None:
        for words in [[], ["nope"], ["explain"], ["check", "a", "b"], ["check", "--audience", "all"]]:
            with self.subTest(words=words):
                self.assertEqual(run(*words).returncode, 2)
        self.assertEqual(run("--help").returncode, 0)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: policy_test.py SANDFORGED [unittest arguments]")
    os.environ["SANDFORGED"] = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=1)
