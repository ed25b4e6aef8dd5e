"""passwd, shadow, gshadow and group, changed together and by nobody else meanwhile.

No tool does this: systemd-sysusers is as fast, but only adds, and drops the comments of passwd; useradd
and userdel take some 10 ms a user; `groupmod -U` forgets gshadow. benchmarks/accounts.py has the figures.
"""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from nixadmin.errors import ConflictError, NixadminError

# What is added goes to the files in this order, what is removed in the other. So whatever a power cut
# leaves, a name in the group is a user's, and a pool that is not whole shows in passwd or in group.
_NAMES = ("passwd", "shadow", "gshadow", "group")
# And they are locked in this one, as useradd and groupadd do, so that nobody waits for each other.
_LOCKS = ("passwd", "shadow", "group", "gshadow")
_PATIENCE = 15.0  # seconds; lckpwdf(3) waits as long
_STALE = 3.0  # seconds after which busybox, too, gives up on another's passwd+ (libbb/update_passwd.c)
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class AccountFiles:
    """The whole content of the four files; a host without shadow(5) has no more than two."""

    passwd: bytes
    group: bytes
    shadow: bytes | None
    gshadow: bytes | None


class Table:
    """The lines of an account file. Those that nobody names stay as they are, byte for byte."""

    def __init__(self, content: bytes) -> None:
        # What follows the last newline is nothing, or a line that lacks its newline: entries are added
        # before it, so that taking them out again gives back what was there.
        self._lines = content.decode(errors="surrogateescape").split("\n")

    @property
    def content(self) -> bytes:
        return "\n".join(self._lines).encode(errors="surrogateescape")

    def entries(self) -> Iterator[list[str]]:
        """The fields of every entry, as they are now."""
        lines = (line for line in list(self._lines) if ":" in line and line[0] not in "#+-:")
        return (line.split(":") for line in lines)

    def get(self, name: str) -> list[str] | None:
        start = f"{name}:"
        return next((line.split(":") for line in self._lines if line.startswith(start)), None)

    def put(self, *fields: str) -> None:
        """Set the entry named by the first field: in its place, or as the last before what NIS gives."""
        if any(":" in field or "\n" in field for field in fields):
            raise ValueError(f"a colon or newline in {fields}")
        line, start = ":".join(fields), f"{fields[0]}:"
        for place, old in enumerate(self._lines):
            if old.startswith(start):
                self._lines[place] = line
                return
        nis = (place for place, old in enumerate(self._lines) if old.startswith(("+", "-")))
        self._lines.insert(next(nis, len(self._lines) - 1), line)

    def drop(self, name: str) -> None:
        *lines, last = self._lines
        start = f"{name}:"
        kept = [line for line in lines if not line.startswith(start)]
        self._lines = [*kept, "" if last.startswith(start) else last]


def rewrite(root: Path, transform: Callable[[AccountFiles], AccountFiles]) -> None:
    """Replace what `transform` changes in the account files of `root`.

    `transform` is called under the locks with what the files hold then; an error that it raises leaves
    them so. New content is written beside the old with its owner, mode and extended attributes (an SELinux
    label) and synced, all of it before the first file is replaced: a full disk changes nothing. The backups
    of shadow's tools (`passwd-`) stay as they are.

    Raises NixadminError when the files are missing, locked for 15 s by others, or cannot be written, and
    ConflictError when one of them is a link.
    """
    try:
        etc = os.open(root / "etc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as e:
        raise NixadminError(f"cannot open {root / 'etc'}: {e.strerror}", "is this the root of a host?") from e
    try:
        with ExitStack() as stack:
            stack.enter_context(_locked(etc))
            names = [name for name in _NAMES if _exists(etc, name)]
            drafts = {name: stack.enter_context(_draft(etc, name)) for name in names}
            contents = {name: _read(etc, name) for name in names}
            if "passwd" not in contents or "group" not in contents:
                raise NixadminError("this host has no /etc/passwd or no /etc/group", "restore it from a backup")
            old = AccountFiles(**dict.fromkeys(("shadow", "gshadow")) | contents)  # type: ignore[arg-type]
            new = transform(old)
            changed = [name for name in names if getattr(new, name) != contents[name]]
            for name in changed:
                _write(etc, name, drafts[name], getattr(new, name))
            for name in changed if len(new.passwd) >= len(old.passwd) else reversed(changed):
                os.rename(f"{name}+", name, src_dir_fd=etc, dst_dir_fd=etc)
                os.fsync(etc)  # a power cut keeps the order
    except OSError as e:
        hint = "run this as root" if e.errno in (errno.EACCES, errno.EPERM) else "put that right, then run this again"
        raise NixadminError(f"cannot change the accounts: {e.strerror}", hint) from e
    finally:
        os.close(etc)


def locked(root: Path) -> bool:
    """Whether a program is changing the accounts, or was when it was killed."""
    locks = (
        f"{prefix}{name}{suffix}" for name in _LOCKS for prefix, suffix in (("", ".lock"), (".", ".nixadmin-lock"))
    )
    return any(os.path.lexists(root / "etc" / lock) for lock in locks)


@contextmanager
def _locked(etc: int) -> Iterator[None]:
    """Hold every lock that the tools take.

    `.pwd.lock` is that of lckpwdf(3), which shadow on glibc, systemd and util-linux take; the `.lock` files
    are shadow's own, and its only ones where the C library is musl.
    """
    until = time.monotonic() + _PATIENCE
    lock = os.open(".pwd.lock", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=etc)
    try:
        while True:
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except (BlockingIOError, PermissionError):
                _wait(until, "another program holds /etc/.pwd.lock and is changing the accounts")
        with ExitStack() as stack:
            for name in _LOCKS:
                stack.enter_context(_lock_file(etc, name, until))
            yield
    finally:
        os.close(lock)


@contextmanager
def _lock_file(etc: int, name: str, until: float) -> Iterator[None]:
    """Make `passwd.lock` as shadow does: it holds our pid from the first moment on, and dies with us."""
    scratch, lock = f".{name}.nixadmin-lock", f"{name}.lock"
    _unlink(etc, scratch)
    descriptor = os.open(scratch, _CREATE, 0o600, dir_fd=etc)
    try:
        os.write(descriptor, b"%d\0" % os.getpid())
        os.close(descriptor)
        while True:
            try:
                os.link(scratch, lock, src_dir_fd=etc, dst_dir_fd=etc)
                break
            except FileExistsError:
                if _holder_is_dead(etc, lock):
                    _unlink(etc, f"{name}+")  # the draft of whoever died is nobody's either
                    _unlink(etc, lock)
                else:
                    _wait(until, f"another program holds /etc/{lock} and is changing the accounts")
    finally:
        _unlink(etc, scratch)
    try:
        yield
    finally:
        _unlink(etc, lock)


@contextmanager
def _draft(etc: int, name: str) -> Iterator[int]:
    """Make `passwd+`, where the new content goes. Making it is the one lock that busybox knows.

    So we never tread on what busybox is at. The other way round nobody can help: busybox 1.35 opens the old
    file before it waits for the lock, and so forgets what was written meanwhile, be it another busybox's.
    """
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            descriptor = os.open(f"{name}+", _CREATE, 0o600, dir_fd=etc)
            break
        except FileExistsError:
            with suppress(FileNotFoundError):
                age = time.time() - os.lstat(f"{name}+", dir_fd=etc).st_mtime
                if not 0 <= age <= _STALE:
                    _unlink(etc, f"{name}+")
                    continue
            _wait(until, f"another program holds /etc/{name}+ and is changing the accounts")
    made = os.fstat(descriptor)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
        with suppress(FileNotFoundError):  # as it should be: it was renamed
            if os.path.samestat(os.lstat(f"{name}+", dir_fd=etc), made):
                _unlink(etc, f"{name}+")


def _read(etc: int, name: str) -> bytes:
    try:
        descriptor = os.open(name, _READ, dir_fd=etc)
    except OSError as e:
        if e.errno == errno.ELOOP:
            hint = f"put a file in its place: cp --remove-destination $(readlink -f /etc/{name}) /etc/{name}"
            raise ConflictError(f"/etc/{name} is a symbolic link", hint) from e
        raise
    with open(descriptor, "rb") as file:
        return file.read()


def _write(etc: int, name: str, draft: int, content: bytes) -> None:
    with open(os.dup(draft), "wb") as file:
        file.write(content)
    old = os.open(name, _READ, dir_fd=etc)
    try:
        found = os.fstat(old)
        os.fchown(draft, found.st_uid, found.st_gid)
        os.fchmod(draft, stat.S_IMODE(found.st_mode))
        given = _attributes(draft)
        for attribute, value in _attributes(old).items():
            if given.get(attribute) != value:
                os.setxattr(draft, attribute, value)
    finally:
        os.close(old)
    os.fsync(draft)


def _attributes(descriptor: int) -> dict[str, bytes]:
    try:
        return {name: os.getxattr(descriptor, name) for name in os.listxattr(descriptor)}
    except OSError as e:
        if e.errno == errno.ENOTSUP:
            return {}
        raise


def _holder_is_dead(etc: int, lock: str) -> bool:
    try:
        descriptor = os.open(lock, _READ, dir_fd=etc)
    except FileNotFoundError:
        return False  # released meanwhile: try again
    with open(descriptor, "rb") as file:
        pid = file.read(32).rstrip(b"\0\n")
    # Shadow, too, leaves alone a lock that names nobody.
    if not pid.isdigit() or int(pid) == 0:
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    # Alive, unless it is us: then it was left by another of the same number.
    return int(pid) == os.getpid()


def _wait(until: float, why: str) -> None:
    if time.monotonic() > until:
        raise NixadminError(why, "let it end, then run this again; after a crash, remove the file")
    time.sleep(0.02)


def _exists(etc: int, name: str) -> bool:
    try:
        os.lstat(name, dir_fd=etc)
    except FileNotFoundError:
        return False
    return True


def _unlink(etc: int, name: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=etc)
