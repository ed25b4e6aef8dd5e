"""What an ELF header tells of a program: its machine, and what it needs beside itself (elf(5)).

Read with struct and not with pyelftools: every run looks at some programs, and to import that alone takes a tenth of
what a whole run may take.
"""

import errno
import io
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from nixadmin.errors import NixadminError

# What uname(2) calls the machines that Nix is published for, by e_machine. A 64-bit kernel also runs the
# 32-bit programs of its family (a 32-bit userland in a container sees the kernel's name).
_386, _PPC64, _S390, _ARM, _X86_64, _AARCH64, _RISCV, _LOONGARCH = 3, 21, 22, 40, 62, 183, 243, 258
_MACHINES = {
    _X86_64: "x86_64",
    _386: "i686",
    _AARCH64: "aarch64",
    _ARM: "armv7l",
    _RISCV: "riscv64",
    _PPC64: "ppc64le",
    _S390: "s390x",
    _LOONGARCH: "loongarch64",
}
_FAMILIES = {
    "x86_64": {_X86_64, _386},
    "i386": {_386},
    "i586": {_386},
    "i686": {_386},
    "aarch64": {_AARCH64, _ARM},
    "armv6l": {_ARM},
    "armv7l": {_ARM},
    "armv8l": {_ARM},
    "riscv64": {_RISCV},
    "ppc64le": {_PPC64},
    "s390x": {_S390},
    "loongarch64": {_LOONGARCH},
}
_EXECUTABLE, _SHARED = 2, 3  # e_type; a position-independent program is of the second
_LOAD, _DYNAMIC, _INTERP = 1, 2, 3  # p_type
_NULL, _NEEDED, _STRTAB = 0, 1, 5  # d_tag
# Real programs have a dozen segments and some tens of dynamic tags; a header that claims more is damaged,
# and reading on would only take time.
_MOST_SEGMENTS = 256
_MOST_TAGS = 4096
_LONGEST_NAME = 4096


class _Layout(NamedTuple):
    """How the structures lie in the file: those of struct(3), without the byte order; `segment` is as in _Segment."""

    bits: int
    header: str
    segment: str
    segment_fields: tuple[int, ...]
    tag: str


# By e_ident[EI_CLASS].
_LAYOUTS = {
    1: _Layout(32, "HHIIIIIHHH", "8I", (0, 1, 2, 4), "iI"),
    2: _Layout(64, "HHIQQQIHHH", "2I6Q", (0, 2, 3, 5), "qQ"),
}
_ORDERS = {1: "<", 2: ">"}  # by e_ident[EI_DATA]


class _Segment(NamedTuple):
    """An entry of the program header: what it is, where it lies in the file and in memory, and its size in the file."""

    type: int
    offset: int
    address: int
    size: int


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
    try:
        return _read(stream, path, machine or os.uname().machine)
    except (ValueError, OverflowError, OSError, struct.error) as e:  # offsets may be any number
        raise NixadminError(f"{path} is a damaged ELF file ({e})", "install it again") from e


def _looks_like(start: bytes) -> str:
    if not start:
        return "empty"
    if start.startswith(b"#!"):
        return "a script, which needs an interpreter"
    return "not an ELF program"


def _read(stream: BinaryIO, path: Path, host: str) -> Elf:
    bits, endianness = _unpack(stream, 4, "BB")
    if bits not in _LAYOUTS or endianness not in _ORDERS:
        raise ValueError(f"class {bits}, byte order {endianness}")
    layout, order = _LAYOUTS[bits], _ORDERS[endianness]
    type_, machine, _, entry, table, _, _, _, length, count = _unpack(stream, 16, order + layout.header)
    name = _MACHINES.get(machine, f"machine {machine}")
    if host in _FAMILIES and machine not in _FAMILIES[host]:
        raise NixadminError(f"{path} is a program for {name}, and this host is {host}", "install this host's")
    if type_ not in (_EXECUTABLE, _SHARED) or not entry:
        raise NixadminError(f"{path} is an ELF file, but not a program", "name a program")
    if not 0 < count <= _MOST_SEGMENTS:
        raise ValueError(f"{count} segments")
    segments = [_segment(stream, table + n * length, order, layout) for n in range(count)]
    size = stream.seek(0, os.SEEK_END)
    if any(one.type in (_LOAD, _INTERP, _DYNAMIC) and one.offset + one.size > size for one in segments):
        raise ValueError("truncated")
    if not any(one.type == _LOAD for one in segments):
        raise ValueError("nothing to load")
    interpreter = None
    needed: tuple[str, ...] = ()
    for segment in segments:
        if segment.type == _INTERP:
            interpreter = _string(stream, segment.offset)
        elif segment.type == _DYNAMIC:
            needed = tuple(_needed(stream, segment, segments, order + layout.tag))
    return Elf(name, layout.bits, interpreter, needed)


def _segment(stream: BinaryIO, offset: int, order: str, layout: _Layout) -> _Segment:
    fields = _unpack(stream, offset, order + layout.segment)
    return _Segment(*(fields[n] for n in layout.segment_fields))


def _needed(stream: BinaryIO, dynamic: _Segment, segments: list[_Segment], layout: str) -> Iterator[str]:
    # By the program header, as the kernel and the linker do: a stripped program has no section headers.
    length = struct.calcsize(layout)
    count = dynamic.size // length
    if count > _MOST_TAGS:
        raise ValueError(f"{count} dynamic tags")
    tags = []
    for n in range(count):
        tag, value = _unpack(stream, dynamic.offset + n * length, layout)
        if tag == _NULL:
            break
        tags.append((tag, value))
    names = [value for tag, value in tags if tag == _NEEDED]
    if not names:
        return
    address = dict(tags).get(_STRTAB, 0)
    for segment in segments:
        if segment.type == _LOAD and segment.address <= address < segment.address + segment.size:
            table = segment.offset + address - segment.address
            break
    else:
        raise ValueError("no table of names")
    for name in names:
        yield _string(stream, table + name)


def _unpack(stream: BinaryIO, offset: int, layout: str) -> tuple[int, ...]:
    stream.seek(offset)
    return struct.unpack(layout, stream.read(struct.calcsize(layout)))


def _string(stream: BinaryIO, offset: int) -> str:
    stream.seek(offset)
    text, end, _rest = stream.read(_LONGEST_NAME).partition(b"\0")
    if not end or not text:
        raise ValueError("a name without end")
    return os.fsdecode(text)
