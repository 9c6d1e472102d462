# SPDX-License-Identifier: Apache-2.0
"""The house rules that a program can check, over every tracked file. Prints one line a breach."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CODE = {".h", ".hpp", ".cpp", ".c", ".py", ".sh", ".build"}
MAX_LINES = 700
breaches: list[str] = []
checks = 0


def check(fine: bool, text: str) -> None:
    global checks
    checks += 1
    if not fine:
        breaches.append(text)


def tracked() -> list[Path]:
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [ROOT / name for name in names.decode().split("\0") if name and (ROOT / name).is_file()]


def check_code(path: Path, name: str, text: str) -> None:
    lines = text.splitlines()
    check(len(lines) <= MAX_LINES, f"{name}: {len(lines)} lines, at most {MAX_LINES}")
    check("SPDX-License-Identifier: Apache-2.0" in "\n".join(lines[:3]), f"{name}: no SPDX line")
    check(not re.search(r"[ \t]+$", text, re.M), f"{name}: trailing white space")
    if path.suffix in {".hpp", ".cpp", ".h", ".c"}:
        wide = [i + 1 for i, line in enumerate(lines) if len(line) > 120]
        check(not wide, f"{name}:{wide[:1]}: over 120 columns")
    if name.startswith(("sandforged/", "examples/", "bindings/")):
        inside = re.search(r'#include "(base|engine|backend|wire|vmm|policy|net|image|agent|agent_client|capi|fsd|jail)/', text)
        check(not inside, f"{name}: uses the inside of the library")
    if name.startswith(("libsandforge/", "sandforged/")) and path.suffix in {".hpp", ".cpp"}:
        check(not re.search(r"\b(usleep|nanosleep|sleep_for|sleep_until)\b", text), f"{name}: sleeps")
        check(name.startswith("libsandforge/vmm/hypervisor/") or "linux/kvm.h" not in text, f"{name}: includes linux/kvm.h")
    if path.suffix == ".hpp" and name.startswith("libsandforge/"):
        heavy = re.search(r"#include <(asio|httplib|simdjson|toml\+\+)", text)
        check(not heavy, f"{name}: a heavy header in a shared one")


def check_registry() -> None:
    """error_codes, sandforge.h and base/result.hpp name the same codes with the same numbers."""
    rows = re.findall(r"^(\d+) (\w+)", (ROOT / "libsandforge/error_codes").read_text(), re.M)
    header = (ROOT / "include/sandforge/sandforge.h").read_text()
    inner = (ROOT / "libsandforge/base/result.hpp").read_text()
    for number, word in rows:
        check(f"SANDFORGE_{word.upper()} = {number}" in header, f"sandforge.h: code {word} is not {number}")
        pascal = "".join(part.capitalize() for part in word.split("_"))
        check(f"{pascal} = {number}," in inner, f"base/result.hpp: code {pascal} is not {number}")


def main() -> int:
    for path in tracked():
        name = str(path.relative_to(ROOT))
        if path.suffix in CODE or name == "meson_options.txt":
            check_code(path, name, path.read_text(errors="replace"))
        check(path.suffix not in {".o", ".so", ".a", ".erofs", ".qcow2", ".whl", ".gz"}, f"{name}: a built file")
    check_registry()
    print("\n".join(breaches))
    print(f"{checks - len(breaches)} passed, {len(breaches)} failed")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
