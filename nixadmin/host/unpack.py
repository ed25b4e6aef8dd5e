"""Unpacking a tarball's store paths into a store: in one pass, and whole or not at all."""

import errno
import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nixadmin.errors import ConflictError, NixadminError, UsageError
from nixadmin.host.decompress import opened
from nixadmin.host.store_writer import StoreWriter
from nixadmin.host.tarball import Contents, items
from nixadmin.host.walk import DIRECTORY
from nixadmin.nix import nar

# Store paths are written here and renamed when all are complete. The leading dot makes it no store path.
SCRATCH = ".nixadmin-unpacking"
_THREADS = min(4, len(os.sched_getaffinity(0)))
_HINT = "copy or download it again, and compare its SHA-256 with the published one"


def unpack(
    path: Path,
    store: Path,
    *,
    sha256: str | None = None,
    check_nars: bool = False,
    progress: Callable[[str, int, int], None] = lambda _what, _done, _total: None,
) -> Contents:
    """Unpack the store paths of a tarball into `store`, as Nix wants them: read-only, the user's own, dated 1970.

    The file is read once: hashed, decompressed (on several cores where it has several blocks) and written. Only
    when its end was reached, its digest (hexadecimal) was right and all is on the disk are the paths renamed into
    their places; a run that is killed leaves one directory, which the next run removes. What is there already is
    passed over. `check_nars` also compares every new path with the hash that is registered for it. `progress` is
    told the bytes read and their total.

    Raises NixadminError for a tarball that is damaged, unsafe, or not what its digest or registration says, and
    when the store has no room or cannot be written; ConflictError for another run, or what is someone else's.
    """
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise UsageError(f"{sha256!r} is not a SHA-256", "give the 64 hexadecimal digits that `sha256sum` prints")
    hasher = hashlib.sha256() if sha256 else None

    def tell(done: int, total: int) -> None:
        progress(f"unpacking {path.name}", done, total)

    try:
        with (
            _scratch(store) as (there, scratch),
            opened(path, hasher=hasher, progress=tell, threads=_THREADS) as stream,
        ):
            writer = StoreWriter(scratch, there, str(path))
            for item in items(stream):
                if isinstance(item, Contents):
                    contents = item
                    writer.expect(item.registrations)
                else:
                    writer.write(item, stream.take(item.size))
            if hasher and sha256 and hasher.hexdigest() != sha256.lower():
                raise NixadminError(f"{path} has SHA-256 {hasher.hexdigest()}, not {sha256}", _HINT)
            new = writer.finish()
            if check_nars:
                _check(store / SCRATCH, contents, new, path)
            _sync(scratch)
            for name in new:
                _move(name, scratch, there)
            os.fsync(there)
    except OSError as e:
        hint = "see that it has room, and is writable"
        raise NixadminError(f"cannot unpack {path} into {store}: {e.strerror or e}", hint) from e
    return contents


def tidy(store: Path) -> None:
    """Remove what a run that was killed has left in `store`. Raises ConflictError while another run unpacks."""
    try:
        there = os.open(store, DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        _discard(there, store)
    finally:
        os.close(there)


@contextmanager
def _scratch(store: Path) -> Iterator[tuple[int, int]]:
    """A fresh directory in the store that nobody else can enter: descriptors of the store and of it."""
    there = os.open(store, DIRECTORY)
    try:
        _discard(there, store)
        os.mkdir(SCRATCH, 0o700, dir_fd=there)
        scratch = os.open(SCRATCH, DIRECTORY, dir_fd=there)
        try:
            fcntl.flock(scratch, fcntl.LOCK_EX | fcntl.LOCK_NB)  # gone with us, whatever ends us
            os.fchmod(scratch, 0o700)  # what the store hands down (set-gid, a default ACL) ends here
            if "system.posix_acl_default" in os.listxattr(scratch):
                os.removexattr(scratch, "system.posix_acl_default")
            yield there, scratch
        finally:
            os.close(scratch)
            _empty(there)
    finally:
        os.close(there)


def _discard(there: int, store: Path) -> None:
    """Remove what a run has left that was killed."""
    try:
        old = os.open(SCRATCH, DIRECTORY, dir_fd=there)
    except FileNotFoundError:
        return
    except OSError as e:
        if e.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        raise ConflictError(f"{store / SCRATCH} is no directory", f"look at it, then: rm {store / SCRATCH}") from e
    try:
        fcntl.flock(old, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
        raise ConflictError(f"another run is unpacking into {store}", "wait for it to end") from e
    finally:
        os.close(old)
    _empty(there)


def _empty(there: int) -> None:
    if os.geteuid() != 0:  # an ordinary user cannot empty a read-only directory, be it their own
        for _, names, _, descriptor in os.fwalk(SCRATCH, dir_fd=there):
            os.fchmod(descriptor, 0o700)
            for name in names:
                inner = os.lstat(name, dir_fd=descriptor)
                if inner.st_mode & 0o170000 == 0o040000:
                    os.chmod(name, 0o700, dir_fd=descriptor)
    shutil.rmtree(SCRATCH, dir_fd=there)


def _check(scratch: Path, contents: Contents, new: list[str], path: Path) -> None:
    for one in contents.registrations:
        if str(one.path) in new:
            found = nar.hash_path(scratch / str(one.path))
            if (found.sha256, found.size) != (one.nar_sha256, one.nar_size):
                raise NixadminError(f"{path} holds another {one.path} than it registers", _HINT)


def _move(name: str, scratch: int, there: int) -> None:
    # To be moved by an ordinary user, a directory must be writable. For root it is not, so as not to stay so
    # when the run is killed here.
    loosen = os.geteuid() != 0 and os.lstat(name, dir_fd=scratch).st_mode & 0o170000 == 0o040000
    if loosen:
        os.chmod(name, 0o755, dir_fd=scratch)
    os.rename(name, name, src_dir_fd=scratch, dst_dir_fd=there)
    if loosen:
        os.chmod(name, 0o555, dir_fd=there)


def _sync(descriptor: int) -> None:
    """Wait until all that was written to this file system is on the disk: one call for thousands of files."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syncfs(descriptor):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
