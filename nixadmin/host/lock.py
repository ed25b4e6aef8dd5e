"""One nixadmin at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nixadmin.errors import NixadminError
from nixadmin.host import Host

# Not in /run/lock, where anybody could take it first and keep it.
PATH = Path("/run/nixadmin.lock")


@contextmanager
def lock(host: Host) -> Iterator[None]:
    """Hold the host's lock. The kernel gives it up when the process ends, however it ends.

    Raises NixadminError, naming the holder, when another nixadmin has it.
    """
    path = host.root.with_name(f"{host.root.name}.nixadmin.lock") if host.is_stand_in else PATH
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        descriptor = os.open(path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise NixadminError(
                f"another nixadmin is at work on this host{f', as process {holder}' if holder.isdigit() else ''}",
                "wait until it has ended, then run this again",
            ) from None
        if _is_at(descriptor, path):
            break
        os.close(descriptor)  # its last holder has removed it between our open and our lock
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.unlink(path)
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    return (found.st_dev, found.st_ino) == (os.fstat(descriptor).st_dev, os.fstat(descriptor).st_ino)
