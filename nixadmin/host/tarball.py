"""Tarballs of Nix, as official releases are laid out: TOP/.reginfo, and store paths in TOP/store."""

import io
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from typing_extensions import Buffer, override

from nixadmin.errors import NixadminError
from nixadmin.host.decompress import Stream, opened
from nixadmin.nix.registration import Registration, parse
from nixadmin.nix.store_path import StorePath

_TOP = re.compile(r"nix-(?P<version>[0-9][\w.+~-]*?)-(?P<system>[a-z0-9_]+-linux)")
_LARGEST_REGISTRATION = 64 << 20  # bytes; the closure of a whole desktop takes two million
_HINT = "take a tarball of an official release, or one that `nixadmin bundle` has made"


@dataclass(frozen=True, slots=True)
class Contents:
    """What the head of a tarball tells. `nix` is the store path with Nix's programs, `cacert` that with certificates."""

    version: str
    system: str
    top: str
    registrations: tuple[Registration, ...]
    nix: StorePath
    cacert: StorePath | None


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a tarball: its header, where it is below the top directory, and its reader."""

    header: tarfile.TarInfo
    path: PurePosixPath
    archive: tarfile.TarFile


def read_contents(path: Path) -> Contents:
    """Read as much of a tarball as it takes to know what it brings: in official ones, the first few KiB.

    Raises NixadminError for a file that is no tarball of Nix, or a damaged one.
    """
    with opened(path) as stream:
        for member in members(stream):
            if member.path == PurePosixPath(".reginfo") and member.header.isreg():
                return _contents(member, str(path))
    raise NixadminError(f"{path} has no .reginfo, so nothing tells what is in it", _HINT)


@contextmanager
def reading(stream: Stream) -> Iterator[tarfile.TarFile]:
    """The tar archive in a stream, to be read in one pass. Raises NixadminError where it is none, or is cut off."""
    try:
        with tarfile.open(fileobj=_File(stream), mode="r|", bufsize=1 << 18) as archive:
            yield archive
    except (tarfile.TarError, EOFError) as e:
        raise NixadminError(f"{stream.called} is no whole tarball: {e}", _HINT) from e


def members(stream: Stream) -> Iterator[Member]:
    """The members in their order, each proved to lie in the one top directory, and to be of a harmless kind.

    Raises NixadminError for what no tarball of Nix holds: absolute or climbing names, devices, set-id bits.
    """
    top, seen = "", set[PurePosixPath]()
    with reading(stream) as archive:
        for header in archive:
            name = PurePosixPath(header.name)
            _check(header, name, stream.called)
            parts = [part for part in name.parts if part != "."]
            top = top or parts[0]
            if not parts or parts[0] != top or not _TOP.fullmatch(top):
                raise NixadminError(f"{stream.called} holds {header.name!r}, not one directory nix-VERSION-SYSTEM", _HINT)
            path = PurePosixPath(*parts[1:])
            if path in seen and not header.isdir():
                raise NixadminError(f"{stream.called} holds {header.name!r} twice", _HINT)
            seen.add(path)
            yield Member(header, path, archive)


def _check(header: tarfile.TarInfo, name: PurePosixPath, called: str) -> None:
    if name.is_absolute() or ".." in name.parts or not header.name.isprintable():
        raise NixadminError(f"{called} holds {header.name!r}, which would lead elsewhere", _HINT)
    if not (header.isreg() or header.isdir() or header.issym() or header.islnk()):
        raise NixadminError(f"{called} holds {header.name!r}, a device or another special file", _HINT)
    if header.mode & 0o6000 and not header.isdir():
        raise NixadminError(f"{called} holds {header.name!r}, which would run as its owner (set-id)", _HINT)


def _contents(member: Member, called: str) -> Contents:
    if member.header.size > _LARGEST_REGISTRATION:
        raise NixadminError(f"{called} has a .reginfo of {member.header.size} bytes", _HINT)
    file = member.archive.extractfile(member.header)
    assert file is not None
    try:
        registrations = parse(file.read().decode())
    except UnicodeDecodeError as e:
        raise NixadminError(f"{called} has a .reginfo that is no text", _HINT) from e
    top = PurePosixPath(member.header.name).parts[0]
    named = _TOP.fullmatch(top)
    assert named is not None  # `members` saw to it
    paths = [one.path for one in registrations]
    nix = next((path for path in paths if path.name == f"nix-{named['version']}"), None)
    if nix is None:
        raise NixadminError(f"{called} registers no store path nix-{named['version']}", _HINT)
    cacert = next((path for path in paths if path.name.startswith("nss-cacert-")), None)
    return Contents(named["version"], named["system"], top, registrations, nix, cacert)


class _File(io.RawIOBase):
    """A stream as the file that tarfile wants."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer)
        piece = self._stream.some(len(view))
        view[: len(piece)] = piece
        return len(piece)

    @override
    def read(self, size: int = -1) -> bytes:
        pieces = []
        while size and (piece := self._stream.some(size)):
            pieces.append(bytes(piece))
            size -= len(piece)
        return b"".join(pieces)
