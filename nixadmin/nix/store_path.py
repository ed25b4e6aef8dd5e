"""Store paths: their syntax, and the names that Nix computes for content."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Self

from typing_extensions import override

from nixadmin.errors import NixadminError
from nixadmin.nix import base32

STORE = PurePosixPath("/nix/store")
# libstore/path.cc: these characters, at most 211 of them. A leading dot was forbidden until Nix 2.20; "." and ".."
# and names that begin like them ("..-x" is a directory's parent to nobody, yet Nix refuses it) still are.
_BASE_NAME = re.compile(rf"([{base32.ALPHABET}]{{32}})-([0-9A-Za-z+\-_?=][0-9A-Za-z+\-._?=]{{0,210}})")


@dataclass(frozen=True, slots=True, order=True)
class StorePath:
    """The base name of something directly in a store directory: 32 digits of base-32, a dash, a name."""

    digest: str
    name: str

    @classmethod
    def parse(cls, base_name: str) -> Self:
        """Read `DIGEST-NAME`. Raises NixadminError for anything else."""
        match = _BASE_NAME.fullmatch(base_name)
        if not match:
            raise NixadminError(f"{base_name!r} is not the name of a store path", "it should be DIGEST-NAME")
        return cls(match[1], match[2])

    @classmethod
    def parse_absolute(cls, path: str, store: PurePosixPath = STORE) -> Self:
        """Read `/nix/store/DIGEST-NAME`. Raises NixadminError for a path elsewhere, or below a store path."""
        prefix = f"{store}/"
        if not path.startswith(prefix):
            raise NixadminError(f"{path!r} is not in the store {store}", "only paths of that store can be used")
        return cls.parse(path.removeprefix(prefix))

    @override
    @override
    def __str__(self) -> str:
        return f"{self.digest}-{self.name}"

    def absolute(self, store: PurePosixPath = STORE) -> str:
        """Where it is in a store directory."""
        return f"{store}/{self}"


def make(kind: str, content_sha256: bytes, name: str, store: PurePosixPath = STORE) -> StorePath:
    """The store path of a fingerprint, as Nix's makeStorePath: 20 bytes folded from a SHA-256."""
    fingerprint = f"{kind}:sha256:{content_sha256.hex()}:{store}:{name}"
    folded = bytearray(20)
    for position, byte in enumerate(hashlib.sha256(fingerprint.encode()).digest()):
        folded[position % 20] ^= byte
    return StorePath.parse(f"{base32.encode(bytes(folded))}-{name}")


def content_addressed(
    nar_sha256: bytes,
    name: str,
    references: tuple[StorePath, ...] = (),
    *,
    self_reference: bool = False,
    store: PurePosixPath = STORE,
) -> StorePath:
    """The store path that content is added under: `nix-store --add`, `nix store make-content-addressed`.

    `nar_sha256` is the SHA-256 of the NAR; with `self_reference`, the one modulo the path's own digest
    (nar.hash_modulo). `references` are other paths. (Nix 2.8, makeFixedOutputPath, recursive SHA-256.)
    """
    others = "".join(f":{path.absolute(store)}" for path in sorted(references, key=str))
    return make(f"source{others}{':self' if self_reference else ''}", nar_sha256, name, store)
