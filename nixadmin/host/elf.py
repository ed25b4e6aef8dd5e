"""What an ELF header tells of a program: its machine, and what it needs beside itself (elf(5))."""

import errno
import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from nixadmin.errors import NixadminError

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile

# What uname(2) calls the machines that Nix is published for, by e_machine. A 64-bit kernel also runs the
# 32-bit programs of its family (a 32-bit userland in a container sees the kernel's name).
_MACHINES = {
    "EM_X86_64": "x86_64",
    "EM_386": "i686",
    "EM_AARCH64": "aarch64",
    "EM_ARM": "armv7l",
    "EM_RISCV": "riscv64",
    "EM_PPC64": "ppc64le",
    "EM_S390": "s390x",
    "EM_LOONGARCH": "loongarch64",
}
_FAMILIES = {
    "x86_64": {"EM_X86_64", "EM_386"},
    "i386": {"EM_386"},
    "i586": {"EM_386"},
    "i686": {"EM_386"},
    "aarch64": {"EM_AARCH64", "EM_ARM"},
    "armv6l": {"EM_ARM"},
    "armv7l": {"EM_ARM"},
    "armv8l": {"EM_ARM"},
    "riscv64": {"EM_RISCV"},
    "ppc64le": {"EM_PPC64"},
    "s390x": {"EM_S390"},
    "loongarch64": {"EM_LOONGARCH"},
}
# Real programs have a dozen segments and some tens of dynamic tags; a header that claims more is damaged,
# and reading on would only take time.
_MOST_SEGMENTS = 256
_MOST_TAGS = 4096
_LONGEST_NAME = 4096


@dataclass(frozen=True, slots=True)
class Elf:
    """A program: `machine` as uname(2) names it, `interpreter` its PT_INTERP, `needed` its DT_NEEDED."""

    machine: str
    bits: int
    interpreter: str | None
    needed: tuple[str, ...]

    @property
    def static(self) -> bool:
        """Whether the kernel alone can start it.

        A static-pie program has a PT_DYNAMIC segment too (it relocates itself), but neither interpreter nor
        needed libraries.
        """
        return self.interpreter is None and not self.needed


def read_elf(path: Path, machine: str | None = None) -> Elf:
    """Read the headers of the program at `path`.

    `machine` is the machine that must be able to run it, as uname(2) names it; by default, this host's.

    Raises NixadminError when it cannot be read, is no ELF program, is damaged, or is for another machine.
    """
    try:
        # Not blocking, so that a FIFO somebody put there cannot make us wait.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as e:
        hint = "run this as root" if e.errno in (errno.EACCES, errno.EPERM) else None
        raise NixadminError(f"cannot read {path}: {e.strerror}", hint) from e
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NixadminError(f"{path} is not a regular file", "name a program")
    with open(descriptor, "rb") as file:
        return parse_elf(file, path, machine)


def parse_elf(file: BinaryIO | bytes, path: Path, machine: str | None = None) -> Elf:
    """As `read_elf`, from an open file or from bytes; `path` is only what errors call it."""
    stream = io.BytesIO(file) if isinstance(file, bytes) else file
    start = stream.read(4)
    if start != b"\x7fELF":
        raise NixadminError(f"{path} is {_looks_like(start)}", "name an ELF program, such as /bin/bash-static")
    from elftools.elf.elffile import ELFFile

    size = stream.seek(0, os.SEEK_END)
    try:
        stream.seek(0)
        elf = ELFFile(stream)
        _check_machine(elf, path, machine or os.uname().machine)
        if elf["e_type"] not in ("ET_EXEC", "ET_DYN") or not elf["e_entry"]:
            raise NixadminError(f"{path} is an ELF file, but not a program", "name a program")
        return _read(elf, stream, size)
    except NixadminError:
        raise
    except Exception as e:  # pyelftools raises whatever a damaged header leads it to
        said = str(e) or type(e).__name__
        raise NixadminError(f"{path} is a damaged ELF file ({said})", "install it again") from e


def _looks_like(start: bytes) -> str:
    if not start:
        return "empty"
    if start.startswith(b"#!"):
        return "a script, which needs an interpreter"
    return "not an ELF program"


def _check_machine(elf: "ELFFile", path: Path, machine: str) -> None:
    wanted = _FAMILIES.get(machine)
    if wanted is not None and elf["e_machine"] not in wanted:
        found = _MACHINES.get(str(elf["e_machine"]), str(elf["e_machine"]))
        raise NixadminError(f"{path} is a program for {found}, and this host is {machine}", "install this host's")


def _read(elf: "ELFFile", stream: BinaryIO, size: int) -> Elf:
    if not 0 < elf["e_phnum"] <= _MOST_SEGMENTS:
        raise ValueError(f"{elf['e_phnum']} segments")
    headers = [elf.get_segment(n).header for n in range(elf["e_phnum"])]
    for header in headers:
        if header["p_type"] in ("PT_LOAD", "PT_INTERP", "PT_DYNAMIC"):
            if header["p_offset"] + header["p_filesz"] > size:
                raise ValueError("truncated")
    if not any(header["p_type"] == "PT_LOAD" for header in headers):
        raise ValueError("nothing to load")
    interpreter = None
    needed: tuple[str, ...] = ()
    for header in headers:
        if header["p_type"] == "PT_INTERP":
            interpreter = _string(stream, header["p_offset"])
        elif header["p_type"] == "PT_DYNAMIC":
            needed = tuple(_needed(elf, stream, header["p_offset"], header["p_filesz"]))
    machine = _MACHINES.get(str(elf["e_machine"]), str(elf["e_machine"]))
    return Elf(machine, elf.elfclass, interpreter, needed)


def _needed(elf: "ELFFile", stream: BinaryIO, offset: int, length: int) -> Iterator[str]:
    # Not through elftools' own dynamic section, which goes by the section headers: the kernel and the linker
    # ignore those, a stripped program has none, and a damaged count in them keeps it busy for ever.
    from elftools.common.utils import struct_parse

    structure = elf.structs.Elf_Dyn
    count = length // structure.sizeof()
    if count > _MOST_TAGS:
        raise ValueError(f"{count} dynamic tags")
    tags = []
    for n in range(count):
        tag = struct_parse(structure, stream, offset + n * structure.sizeof())
        if tag["d_tag"] == "DT_NULL":
            break
        tags.append((tag["d_tag"], tag["d_val"]))
    names = [value for tag, value in tags if tag == "DT_NEEDED"]
    if not names:
        return
    table = next(elf.address_offsets(dict(tags)["DT_STRTAB"]))
    for name in names:
        yield _string(stream, table + name)


def _string(stream: BinaryIO, offset: int) -> str:
    stream.seek(offset)
    text, end, _rest = stream.read(_LONGEST_NAME).partition(b"\0")
    if not end or not text:
        raise ValueError("a name without end")
    return os.fsdecode(text)
