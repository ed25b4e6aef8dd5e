"""The members of a tar archive, in one pass, and only of kinds that a store path has.

tarfile's own stream mode would do, but forgives much: a header that repeats, a size that is not there, sparse files.
"""

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from nixadmin.errors import NixadminError
from nixadmin.host.decompress import Stream

_BLOCK = 512
_LONGEST = 1 << 20  # bytes of a name, or of pax records, that stand before a header
_HINT = "take a tarball of an official release, or one that `nixadmin bundle` has made"
_KINDS: dict[bytes, Literal["file", "directory", "link", "hard link"]] = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "link",
    tarfile.LNKTYPE: "hard link",
}


@dataclass(frozen=True, slots=True)
class Member:
    """One member. `target` is what a link says; `size` (bytes) is that of a file, whose content comes next."""

    name: str
    kind: Literal["file", "directory", "link", "hard link"]
    size: int
    executable: bool
    target: str


def members(stream: Stream) -> Iterator[Member]:
    """The members in their order. What the caller does not take of a file's content is passed over.

    Raises NixadminError for what is no tar archive, ends early, or holds devices, fifos, sparse or set-id files.
    """
    extra: dict[str, str] = {}  # what stands before a header and is meant for it
    while header := _header(stream):
        end = stream.position + header.size + -header.size % _BLOCK
        if header.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
            key = "path" if header.type == tarfile.GNUTYPE_LONGNAME else "linkpath"
            extra[key] = _text(stream, header).rstrip("\0")
        elif header.type == tarfile.XHDTYPE:
            extra |= _records(stream, header)
        elif header.type == tarfile.XGLTYPE:
            if {"path", "linkpath", "size"} & _records(stream, header).keys():
                raise NixadminError(f"{stream.called} renames its members for all that follow", _HINT)
        else:
            member = _member(header, extra, stream.called)
            end = stream.position + member.size + -member.size % _BLOCK
            extra = {}
            yield member
        for _ in stream.take(end - stream.position):
            pass
    if extra:
        raise NixadminError(f"{stream.called} is cut off", _HINT)
    stream.finish()


def _header(stream: Stream) -> tarfile.TarInfo | None:
    if stream.position == 0:
        block = b""
        while len(block) < _BLOCK and (piece := stream.some(_BLOCK - len(block))):
            block += piece
        wrong = "is not a tarball"
    else:
        block = stream.read(_BLOCK)
        wrong = "is damaged"
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
        return None
    except tarfile.HeaderError as e:
        raise NixadminError(f"{stream.called} {wrong} ({e})", _HINT) from e
    if header.size < 0:
        raise NixadminError(f"{stream.called} holds {header.name!r} with a size below zero", _HINT)
    return header


def _text(stream: Stream, header: tarfile.TarInfo) -> str:
    if header.size > _LONGEST:
        raise NixadminError(f"{stream.called} holds a name of {header.size} bytes", _HINT)
    return stream.read(header.size).decode("utf-8", "surrogateescape")


def _records(stream: Stream, header: tarfile.TarInfo) -> dict[str, str]:
    """The pax records (pax(1), "pax Extended Header") that concern us: `LENGTH KEY=VALUE` and a newline each."""
    rest = _text(stream, header).encode("utf-8", "surrogateescape")
    found: dict[str, str] = {}
    while rest:
        match = re.match(rb"([1-9][0-9]{0,7}) ([^=]+)=", rest)
        length = int(match[1]) if match else 0
        if match is None or length <= match.end() or rest[length - 1 : length] != b"\n":
            raise NixadminError(f"{stream.called} is damaged: a pax header does not add up", _HINT)
        found[match[2].decode("utf-8", "replace")] = rest[match.end() : length - 1].decode("utf-8", "surrogateescape")
        rest = rest[length:]
    return found


def _member(header: tarfile.TarInfo, extra: dict[str, str], called: str) -> Member:
    name = extra.get("path", header.name)
    kind = _KINDS.get(header.type)
    if kind is None or any(key.startswith("GNU.sparse") for key in extra):
        raise NixadminError(f"{called} holds {name!r}, a device or another special file", _HINT)
    if header.mode & 0o6000:
        raise NixadminError(f"{called} holds {name!r}, which is set-id: it would run as its owner", _HINT)
    size = header.size if kind == "file" else 0
    if kind == "file" and "size" in extra:
        if not re.fullmatch(r"[0-9]{1,18}", extra["size"]):
            raise NixadminError(f"{called} holds {name!r} with the size {extra['size']!r}", _HINT)
        size = int(extra["size"])
    if kind == "directory":
        name = name.rstrip("/")
    return Member(name, kind, size, bool(header.mode & 0o100), extra.get("linkpath", header.linkname))
