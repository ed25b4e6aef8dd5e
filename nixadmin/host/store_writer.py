"""Writing store paths as Nix has them, below a directory that nobody else can enter."""

import os
import stat
from collections.abc import Iterable

from nixadmin.errors import ConflictError, NixadminError
from nixadmin.host.tarball import Piece
from nixadmin.host.walk import DIRECTORY
from nixadmin.nix.registration import Registration

_HINT = "take a tarball of an official release, or one that `nixadmin bundle` has made"
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DATED = (10**9, 10**9)  # ns: one second after the epoch, as every file in a store
Place = tuple[str, ...]


class StoreWriter:
    """Writes pieces below the directory `scratch`, except for paths that the directory `store` has already.

    Every name is opened relative to its directory and no link is followed, though a tarball is the only one who
    could have planted one. `called` names the tarball in messages.
    """

    def __init__(self, scratch: int, store: int, called: str) -> None:
        self._scratch, self._store, self._called = scratch, store, called
        self._kinds: dict[Place, str] = {}
        self._room: dict[str, int] = {}  # bytes that each path may still take
        self._present: dict[str, bool] = {}
        self._parent: tuple[Place, int] | None = None
        self._written: dict[str, int] = {}

    def expect(self, registrations: Iterable[Registration]) -> None:
        """From here on, take only these paths, and of each no more than its NAR has bytes."""
        self._room = {str(one.path): one.nar_size for one in registrations}
        for name, size in self._written.items():
            self._reserve(name, size)

    def write(self, piece: Piece, content: Iterable[memoryview]) -> None:
        """Write one piece. Raises NixadminError when its path is not registered, too large, or behind a link."""
        name = str(piece.path)
        if self._room:
            self._reserve(name, piece.size)
        self._written[name] = self._written.get(name, 0) + piece.size
        place = (name, *piece.inner)
        if place in self._kinds:  # as a directory that another piece needed before
            if piece.kind != "directory" or self._kinds[place] != "directory":
                raise NixadminError(f"{self._called} holds {'/'.join(place)!r} twice", _HINT)
            return
        if self._is_present(name):
            self._kinds[place] = piece.kind
            return
        parent = self._directory(place[:-1])
        if piece.kind == "directory":
            os.mkdir(place[-1], 0o700, dir_fd=parent)
        elif piece.kind == "link":
            assert isinstance(piece.target, str)
            os.symlink(piece.target, place[-1], dir_fd=parent)
            os.utime(place[-1], ns=_DATED, dir_fd=parent, follow_symlinks=False)
        elif piece.kind == "hard link":
            self._write_again(place, (name, *piece.target), parent)
        else:
            self._write_file(place[-1], parent, piece.executable, content)
        self._kinds[place] = "file" if piece.kind == "hard link" else piece.kind

    def finish(self) -> list[str]:
        """Close the directories, the innermost first; the names of the paths that are new and complete.

        Raises NixadminError for a path that is registered and was not there.
        """
        self._leave()
        if missing := self._room.keys() - self._written.keys():
            raise NixadminError(f"{self._called} registers {min(missing)} but does not hold it", _HINT)
        new = [name for name in self._written if not self._present[name]]
        for place in sorted(self._kinds, key=len, reverse=True):
            if self._kinds[place] == "directory" and not self._present[place[0]]:
                inner = "/".join(place)
                os.chmod(inner, 0o555, dir_fd=self._scratch)
                os.utime(inner, ns=_DATED, dir_fd=self._scratch, follow_symlinks=False)
        return new

    def _reserve(self, name: str, size: int) -> None:
        if name not in self._room:
            raise NixadminError(f"{self._called} holds {name} but does not register it", _HINT)
        self._room[name] -= size
        if self._room[name] < 0:
            raise NixadminError(f"{self._called} holds more in {name} than it registers", _HINT)

    def _is_present(self, name: str) -> bool:
        if name not in self._present:
            try:
                owner = os.lstat(name, dir_fd=self._store).st_uid
            except FileNotFoundError:
                self._present[name] = False
            else:
                if owner not in (0, os.geteuid()):
                    raise ConflictError(f"{name} is in the store already, but uid {owner}'s", "look who put it there")
                self._present[name] = True
        return self._present[name]

    def _directory(self, place: Place) -> int:
        """The descriptor of a directory below `scratch`, made where the tarball did not care to."""
        if self._parent and self._parent[0] == place:
            return self._parent[1]
        self._leave()
        current = os.dup(self._scratch)
        for depth, name in enumerate(place, 1):
            kind = self._kinds.get(place[:depth])
            try:
                if kind is None:
                    os.mkdir(name, 0o700, dir_fd=current)
                    self._kinds[place[:depth]] = "directory"
                elif kind != "directory":
                    what = "/".join(place)
                    raise NixadminError(
                        f"{self._called} holds files below {what!r}, which goes through a {kind}", _HINT
                    )
                inner = os.open(name, DIRECTORY, dir_fd=current)
            finally:
                os.close(current)
            current = inner
        self._parent = (place, current)
        return current

    def _leave(self) -> None:
        if self._parent:
            os.close(self._parent[1])
            self._parent = None

    def _write_file(self, name: str, parent: int, executable: bool, content: Iterable[memoryview]) -> None:
        descriptor = os.open(name, _NEW, 0o600, dir_fd=parent)
        try:
            for data in content:
                while data:
                    data = data[os.write(descriptor, data) :]
            os.fchmod(descriptor, 0o555 if executable else 0o444)
            os.utime(descriptor, ns=_DATED)
        finally:
            os.close(descriptor)

    def _write_again(self, place: Place, first: Place, parent: int) -> None:
        """A hard link becomes a file of its own: a store has none but those that Nix itself makes."""
        if self._kinds.get(first) != "file":
            raise NixadminError(
                f"{self._called} holds {'/'.join(place)!r}, a link to no file that came before: {'/'.join(first)!r}",
                _HINT,
            )
        source = os.open("/".join(first), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._scratch)
        with open(source, "rb") as file:
            status = os.fstat(source)
            self._reserve_again(place[0], status.st_size)
            pieces = (memoryview(data) for data in iter(lambda: file.read(1 << 20), b""))
            self._write_file(place[-1], parent, bool(status.st_mode & stat.S_IXUSR), pieces)

    def _reserve_again(self, name: str, size: int) -> None:
        if self._room:
            self._reserve(name, size)
        self._written[name] += size
