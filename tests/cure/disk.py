"""What a power cut may take: watching which changes are on the disk for sure when the next one is made."""
# ruff: noqa: ANN401 - it stands in for calls of any kind

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cure.dying import looks

# Nobody misses these after a power cut: they are locks, and drafts that the next run makes again.
_PASSING = re.compile(r".*(\.lock|\.nixadmin-(new|lock|unpacking)|\+)")
_STORE = "nix/store/"


@dataclass(slots=True)
class Disk:
    """A disk that keeps nothing it was not told to sync.

    `faults` tells of every file that was renamed into its place before all of it was synced (a power cut would leave
    it empty), and of every change that was made while one before it could still be lost (a power cut could leave the
    second without the first). `versions` holds what each file has been, whole.
    """

    root: Path
    faults: list[str] = field(default_factory=list)
    versions: dict[str, list[bytes]] = field(default_factory=dict)
    synced: int = 0
    _files: dict[int, tuple[object, ...]] = field(default_factory=dict)
    _pending: set[str] = field(default_factory=set)
    _real: dict[str, Callable[..., Any]] = field(default_factory=dict)

    def begin(self) -> None:
        """From here on, in this process, watch."""
        for name in ("fsync", "link", "mkdir", "rename", "replace", "rmdir", "symlink", "unlink"):
            self._real[name] = getattr(os, name)
            setattr(os, name, getattr(self, f"_{name}", None) or self._entry(name))
        run = subprocess.run

        def watched(argv: tuple[str, ...], **given: Any) -> Any:
            if not looks(argv) and self._pending:
                self.faults.append(f"{' '.join(argv)[-60:]} was run while {sorted(self._pending)} could be lost")
            return run(argv, **given)

        subprocess.run = watched  # type: ignore[assignment]

    def end(self) -> None:
        """Nothing may be left that could be lost."""
        self.faults += [f"{name} was never synced" for name in sorted(self._pending)]

    def _fsync(self, descriptor: int) -> None:
        self._real["fsync"](descriptor)
        self.synced += 1
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            directory = self._name(f"/proc/self/fd/{descriptor}")
            self._pending = {name for name in self._pending if os.path.dirname(name) != directory}
        else:
            self._files[os.fstat(descriptor).st_ino] = _state(f"/proc/self/fd/{descriptor}")

    def _rename(self, source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        path = f"/proc/self/fd/{src_dir_fd}/{source}"
        found = os.lstat(path)
        name = self._in(dst_dir_fd, target)
        # Paths of a store are synced by one call for all: see `unpack`, which has a test of its own.
        if stat.S_ISREG(found.st_mode) and not name.startswith(_STORE):
            if self._files.get(found.st_ino) != _state(path):
                self.faults.append(f"{name} was put in its place before it was synced")
            self.versions.setdefault(name, []).append(Path(path).read_bytes())
        self._real["rename"](source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        self._changed(name)

    def _entry(self, call: str) -> Callable[..., Any]:
        def watched(*args: Any, **given: Any) -> Any:
            result = self._real[call](*args, **given)
            descriptor = given.get("dst_dir_fd" if call == "link" else "dir_fd")
            if descriptor is not None:
                name = self._in(descriptor, args[0 if call in ("mkdir", "rmdir", "unlink") else 1])
                if call == "rmdir":  # what was in it is gone, with it or before it
                    self._pending = {other for other in self._pending if not other.startswith(f"{name}/")}
                self._changed(name)
            return result

        return watched

    def _changed(self, name: str) -> None:
        if _PASSING.fullmatch(name) or name.startswith(_STORE):
            return
        # What is below a directory that goes as a whole may go in any order.
        if others := {other for other in self._pending if other != name and not _below_nix(name, other)}:
            self.faults.append(f"{name} was changed while {sorted(others)} could still be lost")
        self._pending.add(name)

    def _in(self, descriptor: int, name: str) -> str:
        return os.path.join(self._name(f"/proc/self/fd/{descriptor}"), name)

    def _name(self, link: str) -> str:
        return os.path.relpath(os.readlink(link), self.root)


def _below_nix(*names: str) -> bool:
    return all(name.startswith("nix/") for name in names)


def _state(path: str) -> tuple[object, ...]:
    found = os.stat(path)
    return found.st_mode, found.st_uid, found.st_gid, Path(path).read_bytes()
