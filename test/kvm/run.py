# SPDX-License-Identifier: Apache-2.0
"""Runs a KVM suite where there is a /dev/kvm: on this machine, or else in the lab's nested guest.

    run.py boot BUILD          the monitor's own boots (unittest)
    run.py conformance BUILD   the conformance suite with backend linux-kvm (doctest)
    run.py boots BUILD [N] [BACKEND]   N sandboxes (10) on linux-kvm, or on linux-qemu with KVM (counted)
    run.py hostile BUILD       guests that attack the monitor (unittest)
    run.py jail BUILD          running monitors seen from outside, through a daemon (unittest)
    run.py vcpus BUILD         one boot with 32 vCPUs (unittest)
    run.py workers BUILD       control, adoption and endings of workers (doctest)

The image "default" is looked for in SANDFORGE_IMAGE_DIR, else where an engine of this user would. Exit status 77 where
there is none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))
import lab  # noqa: E402

# Suites, and how many seconds the lab may take for each: twice, and less than test/suites.py allows. What waits in a
# suite has a limit of its own, in the lab's time: a lab that is late has stopped.
LAB_LIMITS = {"boot": 550, "boots": 1700, "conformance": 850, "hostile": 290, "jail": 550, "vcpus": 290, "workers": 550}
ROOT = Path(__file__).resolve().parents[2]
# What the lab's guest sees of this machine is everything but these, which it has for itself.
HIDDEN = ("/tmp", "/run", "/dev", "/proc", "/sys")


def image_directory() -> Path | None:
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "sandforge/images"
    default = Path("/var/lib/sandforge/images") if os.geteuid() == 0 else home
    directory = Path(os.environ.get("SANDFORGE_IMAGE_DIR") or default)
    return directory if (directory / "names/default.toml").exists() else None


def has_kvm() -> bool:
    """A software hypervisor may stand behind the KVM interface: the CPU must offer VMX or SVM too."""
    flags = set(Path("/proc/cpuinfo").read_text().split())
    return os.access("/dev/kvm", os.R_OK | os.W_OK) and bool(flags & {"vmx", "svm"})


def stage(folder: Path, build: Path, suite: str) -> Path:
    """The programs of a build tree, in one folder of a shape that needs no configuration."""
    programs = folder / "programs"
    programs.mkdir()
    names = ["libsandforge/vmm/sandforge-vmm"]
    if suite not in ("boot", "hostile", "vcpus"):  # these need the monitor alone
        names += ["libsandforge/agent/sandforge-agent", "libsandforge/fsd/sandforge-fsd", "sandforged/sandforged",
                  "test/conformance/sandforge-conformance", "test/kvm/kvm-workers", "test/perf/driver"]
    for name in names:
        shutil.copy(build / name, programs)
    if suite in ("boot", "vcpus"):
        line = subprocess.run([build / "test/perf/command_line"], check=True, capture_output=True, text=True).stdout
        (programs / "command_line.txt").write_text(line)
    for library in (build / "libsandforge").glob("libsandforge.so.0*"):
        if library.is_file():
            shutil.copy(library, programs / library.name)
    return programs


def command(suite: str, programs: Path, images: Path, tests: Path) -> list[str]:
    python = ["/usr/bin/python3", str(tests / f"{suite}_test.py")]
    if suite in ("boot", "vcpus"):
        return [*python, str(programs / "sandforge-vmm"), str(images)]
    if suite == "hostile":
        return ["/usr/bin/python3", str(tests / "hostile/hostile_test.py"), str(programs / "sandforge-vmm")]
    environment = ["/usr/bin/env", f"LD_LIBRARY_PATH={programs}", f"SANDFORGE_HELPER_DIR={programs}",
                   f"SANDFORGE_IMAGE_DIR={images}"]
    if suite == "boots":
        count, backend = (sys.argv[3:] + ["10", "linux-kvm"][len(sys.argv[3:]):])[:2]
        return [*environment, "/usr/bin/python3", str(tests / "boot_series.py"), count, "--backend", backend,
                "--driver", str(programs / "driver")]
    if suite == "jail":
        return [*environment, *python, str(programs / "sandforged")]
    if suite == "workers":
        return [*environment, str(programs / "kvm-workers"), str(images)]
    return [*environment, str(programs / "sandforge-conformance"), "--backend=linux-kvm", *sys.argv[3:]]


def visible(path: Path) -> bool:
    return not any(path.is_relative_to(hidden) for hidden in HIDDEN)


def main() -> int:
    suite, build = sys.argv[1], Path(sys.argv[2]).resolve()
    images = image_directory()
    if suite not in LAB_LIMITS:
        print(__doc__)
        return 2
    if images is None and suite == "hostile":
        images = Path("/nonexistent")  # its guests are their own kernels
    if images is None:
        print("no image: run sandforged image build, or set SANDFORGE_IMAGE_DIR")
        return 77
    images = images.resolve()
    with tempfile.TemporaryDirectory(prefix="sandforge-kvm-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)  # monitors run under other user ids
        programs = stage(folder, build, suite)
        tests = folder / "tests"
        shutil.copytree(ROOT / "test/kvm", tests)
        shutil.copy(ROOT / "test/integration/boot_series.py", tests)
        shutil.copy(ROOT / "test/integration/http_harness.py", tests)
        if suite == "hostile":
            built = tests / "hostile/built"
            built.mkdir()
            subprocess.run([sys.executable, str(tests / "hostile/build.py"), str(built)], check=True)
        if has_kvm():
            return subprocess.run(command(suite, programs, images, tests)).returncode
        if images.exists() and not visible(images):
            shutil.copytree(images, folder / "images")
            images = folder / "images"
        job = command(suite, programs, images, tests)
        if suite == "boots":  # QEMU has a user id of its own, and the /dev/kvm of the guest is open to root alone
            job = ["/bin/sh", "-c", 'chmod 666 /dev/kvm && exec "$@"', "sh", *job]
        return lab.run_suite(job, LAB_LIMITS[suite], folder)


if __name__ == "__main__":
    sys.exit(main())
