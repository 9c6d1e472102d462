# SPDX-License-Identifier: Apache-2.0
"""Boots the stock kernel under sandforge-vmm on this machine's /dev/kvm and shows what it said. For people."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import launch  # noqa: E402

SCRIPT = """
echo "init: up $($b cat /proc/uptime)"
for module in $($b cat /modules/order 2>/dev/null); do $b insmod /modules/$module || echo "init: $module failed"; done
$b cat /proc/interrupts /proc/cpuinfo | $b grep -E "LNRO|virtio|ttyS|processor"
$b ls /sys/block; $b dmesg | $b grep -iE "warn|bug|error"
{extra}
echo "init: done"
$b {end} -f
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("images", type=Path)
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--mem", type=int, default=256)
    parser.add_argument("--append", default="")
    parser.add_argument("--extra", default="")
    parser.add_argument("--end", default="poweroff")
    parser.add_argument("--timeout", type=int, default=120)
    options = parser.parse_args()
    paths = launch.image_paths(options.images)
    with tempfile.TemporaryDirectory() as folder:
        initrd, disk = Path(folder) / "initrd", Path(folder) / "disk"
        launch.make_initrd(initrd, SCRIPT.format(extra=options.extra, end=options.end), paths["modules"])
        with disk.open("wb") as file:
            file.truncate(64 << 20)
        started = time.monotonic()
        packet = launch.config(options.cpus, options.mem, f"{launch.COMMAND_LINE} {options.append}")
        monitor = launch.Monitor(options.program, packet, str(paths["kernel"]), str(initrd), str(paths["root"]),
                                 str(disk), on_line=lambda line: print(f"{time.monotonic() - started:7.2f} {line}",
                                                                       flush=True))
        status = monitor.wait(options.timeout)
        print(f"exit status {status} after {time.monotonic() - started:.2f} s")
        return 0


if __name__ == "__main__":
    sys.exit(main())
