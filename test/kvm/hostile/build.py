# SPDX-License-Identifier: Apache-2.0
"""Makes "kernels" of hostile guests: build(folder) compiles each guests/NAME.c to folder/NAME, an ELF file with a PVH
entry that sandforge-vmm boots."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
START = 0x200000
FLAGS = ["-m32", "-O1", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-fno-pic", "-fno-stack-protector",
         "-fno-asynchronous-unwind-tables", "-fcf-protection=none", "-mgeneral-regs-only", "-Wno-unused-function",
         "-Wno-array-bounds", "-Wno-int-to-pointer-cast"]


def elf(image: bytes) -> bytes:
    """A 64-bit ELF file that loads a flat image at START and is entered there by the PVH protocol."""
    note = struct.pack("<III4sQ", 4, 8, 18, b"Xen\0", START)  # XEN_ELFNOTE_PHYS32_ENTRY
    headers_end = 64 + 2 * 56
    at = 4096
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, START, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 7, at, START, START, len(image), len(image), 4096)
    notes = struct.pack("<IIQQQQQQ", 4, 4, headers_end, 0, 0, len(note), len(note), 4)
    return (header + load + notes + note).ljust(at, b"\0") + image


def build(folder: Path) -> list[str]:
    names = []
    for source in sorted((HERE / "guests").glob("*.c")):
        flat = folder / f"{source.stem}.flat"
        subprocess.run(["gcc", *FLAGS, "-nostdlib", "-static", "-Wl,-m,elf_i386", "-Wl,--build-id=none",
                        "-Wl,--oformat=binary", "-Wl,--no-warn-rwx-segments", f"-Wl,-T,{HERE / 'guest.ld'}",
                        "-o", str(flat), str(HERE / "start.S"), str(source)], check=True)
        (folder / source.stem).write_bytes(elf(flat.read_bytes()))
        flat.unlink()
        names.append(source.stem)
    return names


if __name__ == "__main__":
    build(Path(sys.argv[1]))
