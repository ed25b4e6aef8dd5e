"""Store paths in the making, in a directory that stands in for the store."""

import hashlib
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from nixadmin.nix import base32, nar
from nixadmin.nix.registration import Registration
from nixadmin.nix.store_path import StorePath, content_addressed

# Stands where a path's own digest will be until its content is known: any 32 digits that nothing else has.
PLACEHOLDER = base32.encode(hashlib.sha256(b"nixadmin bundle: the digest of this very path").digest()[:20])


class Staging:
    """A temporary directory with store paths under their final names, and their registrations."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = directory / "store"
        self.store.mkdir()
        self._registrations: dict[StorePath, Registration] = {}

    def registrations(self) -> list[Registration]:
        """What has been staged, by name."""
        return [self._registrations[path] for path in sorted(self._registrations, key=str)]

    def add(self, name: str, fill: Callable[[Path, StorePath], None]) -> StorePath:
        """Make a content-addressed path.

        `fill(directory, path)` creates the directory; `path` carries PLACEHOLDER, and every occurrence of that
        becomes the real digest.
        """
        draft = StorePath(PLACEHOLDER, name)
        tree = self.directory / "draft"
        fill(tree, draft)
        _canonicalise(tree)
        refers_to_itself = _contains(tree, PLACEHOLDER)
        path = content_addressed(
            nar.hash_modulo(tree, PLACEHOLDER).sha256, name, self_reference=refers_to_itself
        )
        if refers_to_itself:
            _replace(tree, PLACEHOLDER, path.digest)
        final = self.store / str(path)
        tree.rename(final)
        whole = nar.hash_path(final)
        references = (path,) if refers_to_itself else ()
        self._registrations[path] = Registration(path, whole.sha256, whole.size, references)
        return path

    def adopt(self, registration: Registration, original: Path) -> None:
        """Take a store path as it is, with the registration it already has."""
        copy = self.store / str(registration.path)
        if original.is_dir() and not original.is_symlink():
            shutil.copytree(original, copy, symlinks=True)
        else:
            shutil.copy2(original, copy, follow_symlinks=False)
        self._registrations[registration.path] = registration


def _files(tree: Path) -> list[Path]:
    return [tree, *(Path(top) / name for top, dirs, files in os.walk(tree) for name in (*dirs, *files))]


def _canonicalise(tree: Path) -> None:
    for path in _files(tree):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode):
            path.chmod(0o755 if stat.S_ISDIR(mode) or mode & stat.S_IXUSR else 0o644)


def _contains(tree: Path, text: str) -> bool:
    for path in _files(tree):
        if path.is_symlink():
            if text in os.readlink(path):
                return True
        elif path.is_file() and text.encode() in path.read_bytes():
            return True
    return False


def _replace(tree: Path, old: str, new: str) -> None:
    for path in _files(tree):
        if path.is_symlink():
            target = os.readlink(path)
            if old in target:
                path.unlink()
                path.symlink_to(target.replace(old, new))
        elif path.is_file():
            content = path.read_bytes()
            if old.encode() in content:
                path.write_bytes(content.replace(old.encode(), new.encode()))
