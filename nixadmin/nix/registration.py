"""Registrations: what `nix-store --dump-db` prints, `--load-db` reads and `.reginfo` holds."""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from nixadmin.errors import NixadminError
from nixadmin.nix import base32
from nixadmin.nix.store_path import STORE, StorePath

_HINT = "a .reginfo is what `nix-store --dump-db` prints; take the tarball from a place you trust again"


@dataclass(frozen=True, slots=True)
class Registration:
    """One valid path: the SHA-256 and size (bytes) of its NAR, who made it, what it refers to."""

    path: StorePath
    nar_sha256: bytes
    nar_size: int
    references: tuple[StorePath, ...] = ()
    deriver: StorePath | None = None


def render(registrations: Iterable[Registration], store: PurePosixPath = STORE) -> str:
    """Write a `.reginfo`: the hash in base 16, which every Nix since 1.0 reads."""
    lines: list[str] = []
    for one in registrations:
        references = sorted(path.absolute(store) for path in one.references)
        deriver = one.deriver.absolute(store) if one.deriver else ""
        lines += [one.path.absolute(store), one.nar_sha256.hex(), str(one.nar_size), deriver]
        lines += [str(len(references)), *references]
    return "".join(f"{line}\n" for line in lines)


def parse(text: str, store: PurePosixPath = STORE) -> tuple[Registration, ...]:
    """Read a `.reginfo`. Raises NixadminError where it is not one, or names a path twice or outside `store`.

    The closure must be complete: each reference is one of the paths.
    """
    if text and not text.endswith("\n"):
        raise NixadminError("the registration is cut off in the middle of a line", _HINT)
    lines = iter(text.split("\n")[:-1])
    found: dict[StorePath, Registration] = {}
    for line in lines:
        path = StorePath.parse_absolute(line, store)
        if path in found:
            raise NixadminError(f"{path} is registered twice", _HINT)
        found[path] = _entry(path, lines, store)
    for one in found.values():
        for reference in one.references:
            if reference not in found:
                raise NixadminError(f"{one.path} refers to {reference}, which is not registered", _HINT)
    return tuple(found.values())


def _entry(path: StorePath, lines: Iterator[str], store: PurePosixPath) -> Registration:
    try:
        sha256, size = _sha256(next(lines)), _number(next(lines))
        deriver, count = next(lines), _number(next(lines))
        references = tuple(StorePath.parse_absolute(next(lines), store) for _ in range(count))
    except (StopIteration, RuntimeError) as e:  # PEP 479: a generator's StopIteration is a RuntimeError
        raise NixadminError(f"the registration ends in the middle of {path}", _HINT) from e
    made_by = StorePath.parse_absolute(deriver, store) if deriver else None
    return Registration(path, sha256, size, references, made_by)


def _number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise NixadminError(f"{text!r} is not a number in the registration", _HINT)
    return int(text)


def _sha256(text: str) -> bytes:
    """Any of the forms that Nix reads: base 16, base 32 or base 64, with `sha256:` or `sha256-` or without."""
    digits = text.removeprefix("sha256:").removeprefix("sha256-")
    try:
        if re.fullmatch("[0-9a-fA-F]{64}", digits):
            return bytes.fromhex(digits)
        if len(digits) == 52:
            return base32.decode(digits)
        if len(digits) == 44:
            return base64.b64decode(digits, validate=True)
    except (ValueError, binascii.Error):
        pass
    raise NixadminError(f"{text!r} is not a SHA-256", _HINT)
