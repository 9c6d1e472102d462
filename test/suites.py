# SPDX-License-Identifier: Apache-2.0
"""Builds twice (g++ release, clang with sanitizers and fuzzers), runs every suite, and counts.

Called by test/run.sh. Each suite is one command with a time limit; its log lies in build/logs. Exit status 77 means
"skipped", with the reason in its last line. The last line printed is the sum over everything that ran.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
SANITIZED = ROOT / "build-sanitized"
LOGS = BUILD / "logs"
SKIP = 77


@dataclasses.dataclass
class Suite:
    """One command; `counts` names the reader of its output, see COUNTERS."""

    name: str
    command: list[str]
    limit: int  # seconds
    counts: str = "exit"
    env: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Counts:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, other: "Counts") -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped


def count_doctest(text: str) -> Counts:
    rows = re.findall(r"test cases:\s*(\d+) \|\s*(\d+) passed \|\s*(\d+) failed \|\s*(\d+) skipped", text)
    # Cases that were filtered out by the command line are no skips.
    return Counts(sum(int(r[1]) for r in rows), sum(int(r[2]) for r in rows), 0)


def count_pytest(text: str) -> Counts:
    def total(word: str) -> int:
        return sum(int(n) for n in re.findall(rf"(\d+) {word}", "\n".join(re.findall(r"^=*.* in [\d.]+s.*$", text, re.M))))

    return Counts(total("passed"), total("failed") + total("errors?"), total("skipped"))


def count_unittest(text: str) -> Counts:
    ran = sum(int(n) for n in re.findall(r"^Ran (\d+) tests?", text, re.M))
    failed = sum(int(n) for n in re.findall(r"(?:failures|errors)=(\d+)", text))
    skipped = sum(int(n) for n in re.findall(r"skipped=(\d+)", text))
    return Counts(ran - failed - skipped, failed, skipped)


def count_plain(text: str) -> Counts:
    rows = re.findall(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", text, re.M)
    return Counts(sum(int(r[0]) for r in rows), sum(int(r[1]) for r in rows), sum(int(r[2] or 0) for r in rows))


COUNTERS = {
    "exit": lambda text: Counts(),
    "doctest": count_doctest,
    "pytest": count_pytest,
    "unittest": count_unittest,
    "plain": count_plain,
}


def run_logged(name: str, command: list[str], limit: int, env: dict[str, str]) -> tuple[int, str]:
    """Runs a command in a process group of its own; a time-out ends the whole group and is status 124."""
    log = LOGS / f"{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=out,
            stderr=subprocess.STDOUT, start_new_session=True,
        )
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            status = 124
            out.write(f"\ntime limit of {limit} s\n".encode())
    return status, log.read_text(errors="replace")


def judge(suite: Suite, status: int, text: str) -> Counts:
    counts = COUNTERS[suite.counts](text)
    if status == SKIP:
        return Counts(skipped=max(1, counts.skipped))
    if status == 0 and counts.passed + counts.skipped == 0:
        counts.passed = 1
    if status != 0 and counts.failed == 0:
        counts.failed = 1
    return counts


def show_failure(text: str) -> None:
    for line in text.splitlines()[-60:]:
        print(f"    | {line}")


def build() -> None:
    """Both build trees. Nothing is rebuilt without cause."""
    steps = []
    launcher = "ccache " if subprocess.run(["which", "ccache"], capture_output=True).returncode == 0 else ""
    gcc = {"CC": f"{launcher}gcc", "CXX": f"{launcher}g++"}
    clang = {"CC": f"{launcher}clang", "CXX": f"{launcher}clang++"}
    if not (BUILD / "build.ninja").exists():
        steps.append(("setup-release", ["meson", "setup", "--werror", "-Dbuildtype=release", str(BUILD)], gcc))
    elif not (BUILD / "test").is_dir():  # made by examples/quickstart.sh, which needs no tests
        steps.append(("setup-release", ["meson", "configure", "-Dtests=auto", "-Dwerror=true", str(BUILD)], gcc))
    if not (SANITIZED / "build.ninja").exists():
        steps.append(("setup-sanitized", ["meson", "setup", "--werror", "-Dbuildtype=debugoptimized", "-Doptimization=1",
                                          "-Db_sanitize=address,undefined", "-Db_lundef=false", "-Dfuzz=enabled",
                                          str(SANITIZED)], clang))
    steps.append(("build-release", ["ninja", "-C", str(BUILD)], gcc))
    steps.append(("build-sanitized", ["ninja", "-C", str(SANITIZED)], clang))
    for name, command, env in steps:
        started = time.monotonic()
        status, text = run_logged(name, command, 1800, env)
        print(f"{name}: {'ok' if status == 0 else 'FAILED'} ({time.monotonic() - started:.0f} s)", flush=True)
        if status != 0:
            show_failure(text)
            print("0 passed, 1 failed, 0 skipped")
            sys.exit(1)


def suites(full: bool) -> list[Suite]:
    """Everything there is to run, cheap before dear. The long forms take ten times what the short ones do."""
    sanitizer = {"ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1"}
    # What uses a default state directory gets one in the build tree.
    own_state = {"SANDFORGE_STATE_DIR": str(BUILD / "test-state")}
    python = "/usr/bin/python3"
    daemon = str(BUILD / "sandforged/sandforged")
    conformance = "test/conformance/sandforge-conformance"

    def twice(name: str, program: str, limit: int, arguments: list[str]) -> list[Suite]:
        """The same doctest program as built for users, and under the sanitizers."""
        return [Suite(name, [str(BUILD / program), *arguments], limit, "doctest"),
                Suite(f"{name}-sanitized", [str(SANITIZED / program), *arguments], 4 * limit, "doctest", sanitizer)]

    table = [
        Suite("style", [python, "test/style/check.py"], 120, "plain"),
        *twice("unit", "test/unit/unit-tests", 240, []),
        *twice("sandforged-unit", "test/unit/sandforged/sandforged-unit-tests", 120, []),
        Suite("abi", ["sh", "test/abi/check.sh", ".", str(BUILD / "libsandforge/libsandforge.so")], 60, "plain"),
        Suite("abi-header-c", [str(BUILD / "test/abi/abi-header-c")], 60),
        Suite("abi-header-cpp", [str(BUILD / "test/abi/abi-header-cpp")], 60),
        Suite("install", ["sh", "test/abi/install.sh", str(BUILD)], 300, "plain"),
        *twice("conformance-fake", conformance, 180, ["--backend=fake"]),
        Suite("mounts", [python, "test/fsd/mounts_test.py", str(BUILD), *(["--full"] if full else [])],
              1800 if full else 300, "unittest"),
        Suite("agent", [python, "test/integration/agent_test.py", str(BUILD / "libsandforge/agent/sandforge-agent")],
              300, "unittest"),
        Suite("agent-sanitized", [python, "test/integration/agent_test.py",
                                  str(SANITIZED / "test/integration/sandforge-agent-checked")], 600, "unittest",
              sanitizer),
        Suite("http", [python, "test/integration/http_test.py", daemon], 600, "unittest"),
        Suite("http-sanitized", [python, "test/integration/http_test.py", str(SANITIZED / "sandforged/sandforged")],
              900, "unittest", sanitizer),
        Suite("policy", [python, "test/integration/policy_test.py", daemon], 300, "unittest"),
        Suite("python-fake", ["sh", "bindings/python/live_tests.sh", "build/python", daemon, "fake"], 900, "pytest"),
        Suite("image", [daemon, "image", "build"], 1200),
        Suite("conformance-linux-qemu", [str(BUILD / conformance), "--backend=linux-qemu"], 1200, "doctest"),
        # These run in the lab's nested guest where this machine has no /dev/kvm.
        Suite("kvm-boot", [python, "test/kvm/run.py", "boot", str(BUILD)], 1200, "unittest"),
        Suite("kvm-hostile", [python, "test/kvm/run.py", "hostile", str(BUILD)], 600, "unittest"),
        Suite("kvm-jail", [python, "test/kvm/run.py", "jail", str(BUILD)], 1200, "unittest"),
        Suite("kvm-workers", [python, "test/kvm/run.py", "workers", str(BUILD)], 1200, "doctest"),
        Suite("conformance-linux-kvm", [python, "test/kvm/run.py", "conformance", str(BUILD)], 1800, "doctest"),
        Suite("confinement-linux-qemu", [python, "test/integration/confinement_test.py", daemon], 120, "unittest"),
        Suite("python-linux-qemu", ["sh", "bindings/python/live_tests.sh", "build/python", daemon, "linux-qemu"], 900,
              "pytest"),
    ]
    for example in ("quickstart-c", "quickstart-cpp", "exec", "files", "streaming", "streaming-c"):
        table.append(Suite(f"example-{example}", [str(BUILD / "examples" / example)], 120, env=own_state))
    if full:
        table.append(Suite("kvm-vcpus", [python, "test/kvm/run.py", "vcpus", str(BUILD)], 600, "unittest"))
        table.append(Suite("fsd-race", [str(BUILD / "test/unit/unit-tests"), "-tc=whatever is renamed between*"], 1800,
                           "doctest", {"SANDFORGE_FSD_ROUNDS": "1000000"}))
        # The kernel of our own, in a store of its own: built, then everything that the stock one passes.
        own_images = {"SANDFORGE_IMAGE_DIR": str(BUILD / "test-images-built")}
        boots = [python, "test/integration/boot_series.py", "100", "--build", str(BUILD)]
        table += [
            Suite("kernel-build", [daemon, "image", "build", "--kernel", "built"], 3600, env=own_images),
            Suite("kernel-built-conformance-linux-qemu", [str(BUILD / conformance), "--backend=linux-qemu"], 1200,
                  "doctest", own_images),
            Suite("kernel-built-conformance-linux-kvm", [python, "test/kvm/run.py", "conformance", str(BUILD)], 1800,
                  "doctest", own_images),
            Suite("kernel-built-boots", boots, 3600, "plain", own_images),
            *[Suite(f"kernel-built-boots-kvm-{backend}",
                    [python, "test/kvm/run.py", "boots", str(BUILD), "100", backend], 3600, "plain", own_images)
              for backend in ("linux-kvm", "linux-qemu")],
        ]
    table += [
        Suite("quickstart", ["sh", "examples/quickstart.sh"], 900, "plain"),
        Suite("boots", [python, "test/integration/boot_series.py", "100" if full else "10", "--build", str(BUILD)],
              3600 if full else 600, "plain"),
        Suite("perf", [python, "test/perf/run.py", str(BUILD)], 1200, "plain"),
        # Always in the lab, whose clock counts instructions; with the kernel of our own where the full run built it.
        Suite("perf-kvm", [python, "test/perf/kvm.py", str(BUILD)], 1200, "plain",
              {"SANDFORGE_BUILT_IMAGE_DIR": str(BUILD / "test-images-built")} if full else {}),
    ]
    for corpus in sorted((ROOT / "test/fuzz/corpus").iterdir()):
        seconds = 60 if full else 6
        table.append(Suite(f"fuzz-{corpus.name}",
                           ["sh", "test/fuzz/run.sh", str(SANITIZED / f"test/fuzz/fuzz-{corpus.name}"), str(corpus),
                            str(seconds)], seconds + 120, env=sanitizer))
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="take the long forms of the long tests")
    parser.add_argument("--only", default="", help="comma-separated suites")
    parser.add_argument("--list", action="store_true", help="name the suites and stop")
    options = parser.parse_args()
    only = [name for name in options.only.split(",") if name]
    chosen = [s for s in suites(options.full) if not only or s.name in only]
    if options.list:
        print("\n".join(s.name for s in chosen))
        return 0
    LOGS.mkdir(parents=True, exist_ok=True)
    build()
    total = Counts()
    for suite in chosen:
        started = time.monotonic()
        status, text = run_logged(suite.name, suite.command, suite.limit, suite.env)
        counts = judge(suite, status, text)
        total.add(counts)
        verdict = "FAILED" if counts.failed else "skipped" if counts.passed == 0 else "ok"
        print(f"{suite.name}: {verdict}, {counts.passed} passed, {counts.failed} failed, {counts.skipped} skipped "
              f"({time.monotonic() - started:.0f} s)", flush=True)
        if counts.failed:
            show_failure(text)
        elif counts.skipped and status == SKIP:
            print(f"    | {text.strip().splitlines()[-1] if text.strip() else 'no reason given'}")
    print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped")
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
