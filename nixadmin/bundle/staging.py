"""Store paths in the making: where each of them is for now, and what `.reginfo` will say of it."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from nixadmin.nix import base32, nar
from nixadmin.nix.registration import Registration
from nixadmin.nix.store_path import StorePath, content_addressed

# Stands where a path's own digest will be until its content is known: any 32 digits that nothing else has.
PLACEHOLDER = base32.encode(hashlib.sha256(b"nixadmin bundle: the digest of this very path").digest()[:20])


class Staging:
    """The paths of a bundle. What is made for it is made in `directory`, which is fresh and private."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._registrations: dict[StorePath, Registration] = {}
        self._places: dict[StorePath, Path] = {}

    def registrations(self) -> list[Registration]:
        """What has been staged, by name."""
        return [self._registrations[path] for path in sorted(self._registrations, key=str)]

    def place(self, path: StorePath) -> Path:
        """Where the content of a staged path is."""
        return self._places[path]

    def add(self, name: str, fill: Callable[[Path, str], None]) -> StorePath:
        """Make a content-addressed path.

        `fill(directory, path)` makes the directory. The store path that it is told holds PLACEHOLDER, and every
        occurrence of that becomes the real digest, in the way of `nix store make-content-addressed`.
        """
        tree = self._directory / name
        fill(tree, StorePath(PLACEHOLDER, name).absolute())
        refers_to_itself = any(PLACEHOLDER.encode() in text for _, text in _texts(tree))
        hashed = nar.hash_modulo(tree, PLACEHOLDER).sha256
        path = content_addressed(hashed, name, self_reference=refers_to_itself)
        if refers_to_itself:
            _replace(tree, PLACEHOLDER.encode(), path.digest.encode())
        whole = nar.hash_path(tree)
        references = (path,) if refers_to_itself else ()
        self.adopt(Registration(path, whole.sha256, whole.size, references), tree)
        return path

    def adopt(self, registration: Registration, place: Path) -> None:
        """Take a store path as it is, from where it is."""
        self._registrations[registration.path] = registration
        self._places[registration.path] = place


def _texts(tree: Path) -> Iterator[tuple[Path, bytes]]:
    """The content of every file, and what every link says."""
    for top, directories, files in os.walk(tree):
        for path in (Path(top, name) for name in (*directories, *files)):
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                yield path, os.fsencode(path.readlink())
            elif stat.S_ISREG(mode):
                yield path, path.read_bytes()


def _replace(tree: Path, old: bytes, new: bytes) -> None:
    for path, text in _texts(tree):
        if old not in text:
            continue
        if path.is_symlink():
            path.unlink()
            path.symlink_to(os.fsdecode(text.replace(old, new)))
        else:
            path.write_bytes(text.replace(old, new))
