"""Files of the host, reached so that no other user can lead us astray: see `nixadmin.host.walk`."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal

from nixadmin.errors import ConflictError, NixadminError
from nixadmin.host.attributes import label, own
from nixadmin.host.removal import remove_directory, remove_tree
from nixadmin.host.walk import DIRECTORY, walk

Kind = Literal["directory", "file", "link", "other"]


@dataclass(frozen=True, slots=True)
class Inode:
    """What lstat(2) tells. `mode` holds the permission bits only; `target` is a link's text."""

    kind: Kind
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    links: int
    device: int
    target: str | None = None


class Files:
    """The files below `root`, by the paths that they have on the host."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def inode(self, path: Path) -> Inode | None:
        """What is at `path` itself (a link is not followed), or None."""
        try:
            with self._parent(path) as (parent, name):
                return _inode(os.lstat(name, dir_fd=parent), parent, name)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read(self, path: Path) -> bytes:
        """The content of a regular file. Raises FileNotFoundError, PermissionError."""
        with self._parent(path) as (parent, name):
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ConflictError(f"{path} is not a regular file", f"move {path} away")
            return file.read()

    def names(self, path: Path) -> list[str]:
        """The names in a directory, sorted; empty when there is none."""
        try:
            with self._directory(path) as descriptor:
                return sorted(os.listdir(descriptor))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def make_directory(self, path: Path, mode: int, uid: int, gid: int) -> None:
        """Make a directory that nobody else can enter before it has its owner and mode."""
        with _told(f"make {path}"), self._parent(path) as (parent, name):
            try:
                os.mkdir(name, 0o700, dir_fd=parent)
            except FileExistsError:
                pass  # a run that was killed has made it: it is opened, and so proved to be a directory, below
            descriptor = os.open(name, DIRECTORY, dir_fd=parent)
            try:
                own(descriptor, mode, uid, gid)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.fsync(parent)

    def set_mode(self, path: Path, mode: int, uid: int, gid: int) -> None:
        """Give owner, group and mode to a file or directory. Raises ConflictError on anything else."""
        with _told(f"change {path}"), self._parent(path) as (parent, name):
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
            try:
                found = os.fstat(descriptor)
                if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
                    raise ConflictError(f"{path} has {found.st_nlink} names", "remove the other hard links to it")
                if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
                    raise ConflictError(f"{path} is neither a file nor a directory", f"move {path} away")
                own(descriptor, mode, uid, gid)
            finally:
                os.close(descriptor)

    def write(self, path: Path, content: bytes, mode: int, uid: int, gid: int, mtime_ns: int | None = None) -> None:
        """Replace a file as a whole: written beside it, synced, then renamed over it.

        The new one keeps the extended attributes of the old one (a security label, say), but no capabilities.
        """
        with _told(f"write {path}"), self._parent(path) as (parent, name):
            scratch = _scratch(name)
            _unlink(scratch, parent)  # left by a run that was killed
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(scratch, flags, 0o600, dir_fd=parent)
            try:
                with open(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    label(descriptor, name, parent)
                    own(descriptor, mode, uid, gid)
                    if mtime_ns is not None:
                        os.utime(descriptor, ns=(mtime_ns, mtime_ns))
                    os.fsync(descriptor)
                os.rename(scratch, name, src_dir_fd=parent, dst_dir_fd=parent)
            except BaseException:
                _unlink(scratch, parent)
                raise
            os.fsync(parent)

    def keep(self, path: Path) -> None:
        """Copy a file to the name that `kept` gives, or to the next that is free; not again what was kept already."""
        content, inode = self.read(path), self.inode(path)
        assert inode is not None
        for number in count(1):
            there = kept(path, number)
            if self.inode(there) is None:
                self.write(there, content, inode.mode, inode.uid, inode.gid, inode.mtime_ns)
                return
            if self.read(there) == content:
                return

    def link(self, path: Path, target: str) -> None:
        """Make a symbolic link, in place of another link but of nothing else."""
        with _told(f"link {path}"), self._parent(path) as (parent, name):
            found = _lstat(name, parent)
            if found is not None and not stat.S_ISLNK(found.st_mode):
                raise ConflictError(f"{path} is not a link", f"move {path} away")
            scratch = _scratch(name)
            _unlink(scratch, parent)
            os.symlink(target, scratch, dir_fd=parent)
            os.rename(scratch, name, src_dir_fd=parent, dst_dir_fd=parent)
            os.fsync(parent)

    def tidy(self, path: Path) -> None:
        """Remove what a `write` or `link` that was killed has left beside `path`."""
        try:
            with self._parent(path) as (parent, name):
                _unlink(_scratch(name), parent)
        except (FileNotFoundError, NotADirectoryError):
            return

    def remove(self, path: Path) -> None:
        """Remove a file, a link or an empty directory; what is not there needs no removing."""
        try:
            with self._parent(path) as (parent, name), _told(f"remove {path}", missing=False):
                found = _lstat(name, parent)
                if found is None:
                    return
                if stat.S_ISDIR(found.st_mode):
                    remove_directory(parent, name, path)
                else:
                    os.unlink(name, dir_fd=parent)
                os.fsync(parent)
        except (FileNotFoundError, NotADirectoryError):
            return

    def remove_tree(self, path: Path) -> None:
        """Remove `path` and all below it, following no link. Raises ConflictError at a mount below it."""
        try:
            with self._parent(path) as (parent, name), _told(f"remove {path}", missing=False):
                found = _lstat(name, parent)
                if found is None:
                    return
                # On an overlay, what is no directory has another device number than its directory.
                if os.stat(parent).st_dev == found.st_dev or not stat.S_ISDIR(found.st_mode):
                    remove_tree(parent, name, found.st_dev, path)
                else:  # a mount point stays and is emptied
                    descriptor = os.open(name, DIRECTORY, dir_fd=parent)
                    try:
                        for child in os.listdir(descriptor):
                            remove_tree(descriptor, child, found.st_dev, path / child)
                    finally:
                        os.close(descriptor)
                os.fsync(parent)
        except (FileNotFoundError, NotADirectoryError):
            return

    @contextmanager
    def _directory(self, path: Path) -> Iterator[int]:
        with self._parent(path / "x") as (descriptor, _name):
            yield descriptor

    @contextmanager
    def _parent(self, path: Path) -> Iterator[tuple[int, str]]:
        """The descriptor of the directory that holds `path`, readable, and the last name."""
        if not path.is_absolute() or ".." in path.parts:
            raise ValueError(f"not an absolute, normal path: {path}")
        *way, name = path.parts[1:]
        descriptor = walk(self.root, way, path)
        try:
            yield descriptor, name
        finally:
            os.close(descriptor)


@contextmanager
def _told(what: str, *, missing: bool = True) -> Iterator[None]:
    """Turn the system's refusal into an error for people; that something is `missing` too, unless it is no refusal."""
    try:
        yield
    except OSError as e:
        if not missing and isinstance(e, FileNotFoundError | NotADirectoryError):
            raise
        hint = {
            errno.ENOENT: "make its directory, then run this again",
            errno.ENOTDIR: "something else is in the place of its directory: move that away",
            errno.ENOSPC: "free some space, then run this again",
            errno.EDQUOT: "the quota is used up: free some space, then run this again",
            errno.EROFS: "the file system is read-only: mount it writable",
            errno.EACCES: "run this as root",
            errno.EPERM: "run this as root; if you are, look for an immutable flag (lsattr) or a security module",
        }.get(e.errno or 0)
        raise NixadminError(f"cannot {what}: {e.strerror}", hint) from e


def _inode(found: os.stat_result, parent: int, name: str) -> Inode:
    kinds: dict[int, Kind] = {stat.S_IFDIR: "directory", stat.S_IFREG: "file", stat.S_IFLNK: "link"}
    kind = kinds.get(stat.S_IFMT(found.st_mode), "other")
    return Inode(
        kind=kind,
        mode=stat.S_IMODE(found.st_mode),
        uid=found.st_uid,
        gid=found.st_gid,
        size=found.st_size,
        mtime_ns=found.st_mtime_ns,
        links=found.st_nlink,
        device=found.st_dev,
        target=os.readlink(name, dir_fd=parent) if kind == "link" else None,
    )


def _lstat(name: str, parent: int) -> os.stat_result | None:
    try:
        return os.lstat(name, dir_fd=parent)
    except FileNotFoundError:
        return None


def kept(path: Path, number: int = 1) -> Path:
    """Where a copy of a person's file is laid, beside it. No init, shell or Nix reads a file of such a name."""
    return path.with_name(f"{path.name}.nixadmin-backup{f'-{number}' if number > 1 else ''}")


def _scratch(name: str) -> str:
    return f".{name}.nixadmin-new"


def _unlink(name: str, parent: int) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass
