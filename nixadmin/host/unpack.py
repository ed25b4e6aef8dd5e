"""Unpacking a tarball's store paths into a store: in one pass, and whole or not at all."""

import ctypes
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from nixadmin.errors import NixadminError
from nixadmin.host.decompress import opened
from nixadmin.host.tarball import Member, members, read_contents

# Store paths are written here and renamed when all are complete. The leading dot makes it no store path.
SCRATCH = ".nixadmin-unpacking"
_THREADS = min(4, len(os.sched_getaffinity(0)))
_HINT = "copy or download it again, and compare its SHA-256 with the published one"


def unpack(
    path: Path,
    store: Path,
    *,
    sha256: str | None = None,
    progress: Callable[[str, int, int], None] = lambda _what, _done, _total: None,
) -> None:
    """Unpack the store paths of a tarball into `store`, as Nix wants them: read-only, root's, dated 1970.

    The file is read once: hashed, decompressed (on several cores where it has several blocks) and written. Only
    when its end was reached, its digest (hexadecimal) was right and all is on the disk are the paths renamed into
    their places. What is there already is passed over. `progress` is told the bytes read and their total.

    Raises NixadminError for a tarball that is damaged, unsafe, or not what its digest or registration says.
    """
    wanted = {str(one.path) for one in read_contents(path).registrations}
    scratch = store / SCRATCH
    _discard(scratch)
    scratch.mkdir(mode=0o700)
    try:
        hasher = hashlib.sha256() if sha256 else None

        def tell(done: int, total: int) -> None:
            progress(f"unpacking {path.name}", done, total)

        with opened(path, hasher=hasher, progress=tell, threads=_THREADS) as stream:
            writer = _Writer(scratch, wanted, str(path))
            for member in members(stream):
                if member.path.parts[:1] == ("store",) and len(member.path.parts) > 1:
                    writer.write(member)
            stream.finish()
        if hasher and hasher.hexdigest() != sha256:
            raise NixadminError(f"{path} has SHA-256 {hasher.hexdigest()}, not {sha256}", _HINT)
        if missing := wanted - writer.written:
            raise NixadminError(f"{path} registers {min(missing)} but does not hold it", _HINT)
        writer.finish()
        _sync(scratch)
        for name in sorted(wanted):
            if not (store / name).exists():
                (scratch / name).rename(store / name)
        _sync(store)
    except OSError as e:
        raise NixadminError(f"cannot unpack {path} into {store}: {e.strerror}", "see that it has room, and is writable") from e
    finally:
        _discard(scratch)


class _Writer:
    """Writes members below a directory that is all ours, so that only the tarball itself could lead us astray."""

    def __init__(self, scratch: Path, wanted: set[str], called: str) -> None:
        self._scratch, self._wanted, self._called = scratch, wanted, called
        self._directories: set[PurePosixPath] = {PurePosixPath()}
        self._files: set[PurePosixPath] = set()
        self.written: set[str] = set()

    def write(self, member: Member) -> None:
        """Write one member. Raises NixadminError when it is not in a registered path, or lies behind a link."""
        path = PurePosixPath(*member.path.parts[1:])
        if path.parts[0] not in self._wanted:
            raise NixadminError(f"{self._called} holds {path.parts[0]} but does not register it", _HINT)
        if path.parent not in self._directories:
            raise NixadminError(f"{self._called} holds {path}, which lies in no directory of its own", _HINT)
        self.written.add(path.parts[0])
        header, target = member.header, self._scratch / path
        if header.isdir():
            if path not in self._directories:
                target.mkdir(mode=0o700)
                self._directories.add(path)
        elif header.issym():
            target.symlink_to(header.linkname)
            os.utime(target, (1, 1), follow_symlinks=False)
        elif header.islnk():
            self._write_again(target, header.linkname, bool(header.mode & 0o100))
            self._files.add(path)
        else:
            source = member.archive.extractfile(header)
            assert source is not None
            with open(target, "xb", buffering=0) as file:
                while data := source.read(1 << 20):
                    file.write(data)
                _canonical(file.fileno(), executable=bool(header.mode & 0o100))
            self._files.add(path)

    def _write_again(self, target: Path, linkname: str, executable: bool) -> None:
        """A hard link becomes a file of its own: a store has none but those that Nix itself makes."""
        parts = [part for part in PurePosixPath(linkname).parts if part != "."]
        first = PurePosixPath(*parts[2:])
        if first not in self._files:
            raise NixadminError(f"{self._called} holds a link to {linkname}, which is no file before it", _HINT)
        with open(self._scratch / first, "rb") as source, open(target, "xb") as file:
            shutil.copyfileobj(source, file)
            file.flush()
            _canonical(file.fileno(), executable=executable)

    def finish(self) -> None:
        """Close the directories, the innermost first."""
        for path in sorted(self._directories - {PurePosixPath()}, key=lambda path: -len(path.parts)):
            os.chmod(self._scratch / path, 0o555)
            os.utime(self._scratch / path, (1, 1))


def _canonical(descriptor: int, *, executable: bool) -> None:
    os.fchmod(descriptor, 0o555 if executable else 0o444)
    os.utime(descriptor, (1, 1))


def _sync(directory: Path) -> None:
    """Wait until all that was written to this file system is on the disk: one call for thousands of files."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        ctypes.CDLL(None, use_errno=True).syncfs(descriptor)
    finally:
        os.close(descriptor)


def _discard(scratch: Path) -> None:
    """Remove what a run has left, this one or one that was killed."""
    if not scratch.is_symlink() and not scratch.exists():
        return
    if scratch.is_symlink() or not scratch.is_dir():
        raise NixadminError(f"{scratch} is in the way", f"remove it: rm {scratch}")
    for directory, names, _ in os.walk(scratch):
        for name in names:
            inner = Path(directory, name)
            if not inner.is_symlink():
                inner.chmod(0o700)  # so that an ordinary user can empty it too
    shutil.rmtree(scratch)
