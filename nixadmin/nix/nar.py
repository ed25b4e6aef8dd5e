"""The Nix archive format: the canonical bytes of a file tree, and their hashes."""

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nixadmin.errors import NixadminError

Sink = Callable[[bytes], object]
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class NarHash:
    """The SHA-256 of a NAR and its size in bytes."""

    sha256: bytes
    size: int


def dump(path: Path, sink: Sink) -> None:
    """Feed the NAR of a file, a link or a directory to `sink`.

    Raises NixadminError for what a NAR cannot hold (devices, sockets, fifos) and for a file that changes meanwhile.
    """
    _string(sink, b"nix-archive-1")
    _node(path, sink)


def hash_path(path: Path) -> NarHash:
    """The hash and size that `nix-store --register-validity` and `.reginfo` want of a path."""
    digest = hashlib.sha256()
    size = 0

    def sink(data: bytes) -> None:
        nonlocal size
        size += len(data)
        digest.update(data)

    dump(path, sink)
    return NarHash(digest.digest(), size)


def hash_modulo(path: Path, own_digest: str) -> NarHash:
    """The hash of a NAR in which the path's own digest (32 digits) counts as zeros, and its size.

    As Nix 2.8 hashes content that refers to itself (HashModuloSink): every occurrence reads as 32 NULs,
    and after the NAR comes `|POSITION` for each, so that zeros in the original collide with nothing.
    """
    needle = own_digest.encode()
    digest = hashlib.sha256()
    found: list[int] = []
    held = b""  # what may be the beginning of an occurrence
    position = 0  # of `held` in the NAR

    def sink(data: bytes) -> None:
        nonlocal held, position
        data = held + data
        at = data.find(needle)
        while at >= 0:
            found.append(position + at)
            data = data[:at] + bytes(len(needle)) + data[at + len(needle) :]
            at = data.find(needle, at + len(needle))
        keep = min(len(data), len(needle) - 1)
        done = len(data) - keep
        digest.update(data[:done])
        held = data[done:]
        position += done

    dump(path, sink)
    digest.update(held)
    for at in found:
        digest.update(f"|{at}".encode())
    return NarHash(digest.digest(), position + len(held))


def _string(sink: Sink, data: bytes) -> None:
    sink(len(data).to_bytes(8, "little") + data + bytes(-len(data) % 8))


def _strings(sink: Sink, *words: bytes) -> None:
    for word in words:
        _string(sink, word)


def _node(path: Path, sink: Sink) -> None:
    status = path.lstat()
    _strings(sink, b"(", b"type")
    if stat.S_ISDIR(status.st_mode):
        _string(sink, b"directory")
        for name in sorted(os.listdir(os.fsencode(path))):
            _strings(sink, b"entry", b"(", b"name", name, b"node")
            _node(path / os.fsdecode(name), sink)
            _string(sink, b")")
    elif stat.S_ISLNK(status.st_mode):
        _strings(sink, b"symlink", b"target", os.readlink(os.fsencode(path)))
    elif stat.S_ISREG(status.st_mode):
        _string(sink, b"regular")
        if status.st_mode & stat.S_IXUSR:
            _strings(sink, b"executable", b"")
        _string(sink, b"contents")
        _contents(path, status.st_size, sink)
    else:
        raise NixadminError(f"{path} is neither a file, a link nor a directory", "a store path holds only these")
    _string(sink, b")")


def _contents(path: Path, size: int, sink: Sink) -> None:
    sink(size.to_bytes(8, "little"))
    left = size
    with path.open("rb") as file:
        while data := file.read(_CHUNK):
            left -= len(data)
            sink(data)
    if left:
        raise NixadminError(f"{path} changed while it was read", "run it again when nothing writes there")
    sink(bytes(-size % 8))
