"""Tarballs of Nix, as official releases are laid out: TOP/.reginfo, and store paths in TOP/store."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nixadmin.errors import NixadminError
from nixadmin.host import tar
from nixadmin.host.decompress import Stream, opened
from nixadmin.nix.registration import Registration, parse
from nixadmin.nix.store_path import StorePath

_TOP = re.compile(r"nix-(?P<version>[0-9][\w.+~-]*?)-(?P<system>[a-z0-9_]+-[a-z]+)", re.ASCII)
_SCRIPT = re.compile(r"install|[a-z-]+\.sh|install-[a-z-]+", re.ASCII)
_LARGEST_REGISTRATION = 64 << 20  # bytes; the closure of a whole desktop takes two million
_LARGEST_SCRIPT = 16 << 20
_HINT = "take a tarball of an official release, or one that `nixadmin bundle` has made"


@dataclass(frozen=True, slots=True)
class Contents:
    """What the head of a tarball tells. `nix` is the store path with the programs, `cacert` that with certificates."""

    version: str
    system: str
    top: str
    registrations: tuple[Registration, ...]
    nix: StorePath
    cacert: StorePath | None


@dataclass(frozen=True, slots=True)
class Piece:
    """A file, link or directory of a store path: `inner` are the names that lead to it, none for the path itself.

    `size` is that of a file in bytes; its content comes next in the stream. `target` is what a link says, and for
    a hard link the names below the same store path.
    """

    path: StorePath
    inner: tuple[str, ...]
    kind: str
    size: int
    executable: bool
    target: str | tuple[str, ...]


def read_contents(path: Path) -> Contents:
    """Read as much of a tarball as it takes to know what it brings: in official ones, the first few KiB.

    Raises NixadminError for a file that is no tarball of Nix, or a damaged one.
    """
    with opened(path) as stream:
        for item in items(stream):
            if isinstance(item, Contents):
                return item
    raise AssertionError("items() raises when there is no .reginfo")


def items(stream: Stream) -> Iterator[Contents | Piece]:
    """What a tarball holds, in its order: Contents once, and the pieces of store paths, before or after it.

    Each member was proved to have its place in the one top directory, and not to come twice, and each hard link to
    stay in its store path.

    Raises NixadminError for a tarball that holds anything else, or no .reginfo.
    """
    top = None
    contents = None
    seen: set[tuple[str, ...]] = set()
    for member in tar.members(stream):
        parts = _parts(member.name, stream.called)
        top = top or _TOP.fullmatch(parts[0])
        if top is None or parts[0] != top[0]:
            raise NixadminError(f"{stream.called} holds {member.name!r}, not one directory nix-VERSION-SYSTEM", _HINT)
        if parts in seen:
            raise NixadminError(f"{stream.called} holds {member.name!r} twice", _HINT)
        seen.add(parts)
        if parts[1:2] == ("store",) and len(parts) > 2:
            yield _piece(member, parts, stream.called)
        elif parts[1:] == (".reginfo",) and member.kind == "file":
            contents = _contents(stream, member, top)
            yield contents
        elif not _is_furniture(member, parts[1:]):
            raise NixadminError(f"{stream.called} holds {member.name!r}, which has no place in it", _HINT)
    if contents is None:
        raise NixadminError(f"{stream.called} has no .reginfo, so nothing tells what is in it", _HINT)


def _parts(name: str, called: str) -> tuple[str, ...]:
    parts = tuple(name.removeprefix("./").split("/"))
    if name.startswith("/") or ".." in parts:
        raise NixadminError(f"{called} holds {name!r}, which leads elsewhere", _HINT)
    if not name or "" in parts or "." in parts or re.search(r"[\0-\x1f\x7f]", name):
        raise NixadminError(f"{called} holds {name!r}, which is no name of a file here", _HINT)
    return parts


def _is_furniture(member: tar.Member, parts: tuple[str, ...]) -> bool:
    """Whether it belongs to the official layout, although nothing is done with it: directories and scripts."""
    if member.kind == "directory":
        return parts in ((), ("store",))
    is_script = len(parts) == 1 and _SCRIPT.fullmatch(parts[0]) is not None
    return is_script and member.kind == "file" and member.size <= _LARGEST_SCRIPT


def _piece(member: tar.Member, parts: tuple[str, ...], called: str) -> Piece:
    try:
        path, inner = StorePath.parse(parts[2]), parts[3:]
    except NixadminError as e:
        raise NixadminError(f"{called} holds {member.name!r}: {e}", _HINT) from e
    target: str | tuple[str, ...] = member.target
    if member.kind == "link":
        # It may say any place, as in any store path: only what it says is read, and nothing is followed.
        if not member.target or re.search(r"[\0\n]", member.target):
            raise NixadminError(f"{called} holds {member.name!r}, a link to {member.target!r}", _HINT)
    elif member.kind == "hard link":
        target = _parts(member.target, called)
        if target[:3] != parts[:3]:
            raise NixadminError(f"{called} holds {member.name!r}, a hard link that leaves its store path", _HINT)
        target = target[3:]
    return Piece(path, inner, member.kind, member.size, member.executable, target)


def _contents(stream: Stream, member: tar.Member, top: re.Match[str]) -> Contents:
    if member.size > _LARGEST_REGISTRATION:
        raise NixadminError(f"{stream.called} has a .reginfo of {member.size} bytes", _HINT)
    try:
        registrations = parse(stream.read(member.size).decode())
    except UnicodeDecodeError as e:
        raise NixadminError(f"{stream.called} has a .reginfo that is no text", _HINT) from e
    nix = _named(registrations, re.compile(rf"nix(-cli)?-{re.escape(top['version'])}"))
    if nix is None:
        raise NixadminError(f"{stream.called} registers no store path nix-{top['version']}", _HINT)
    cacert = _named(registrations, re.compile(r"nss-cacert-[0-9.]+"))
    return Contents(top["version"], top["system"], top[0], registrations, nix, cacert)


def _named(registrations: tuple[Registration, ...], name: re.Pattern[str]) -> StorePath | None:
    """The path of a name; of several, the one that no other path refers to: that is what was asked for."""
    referred = {path for one in registrations for path in one.references if path != one.path}
    found = [one.path for one in registrations if name.fullmatch(one.path.name)]
    return next((path for path in found if path not in referred), next(iter(found), None))
