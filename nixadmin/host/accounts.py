"""Users and groups of the host, read; `account_files` changes them."""

import grp
import os
import pwd
import syslog
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nixadmin.errors import NixadminError
from nixadmin.host.account_files import AccountFiles, locked, rewrite
from nixadmin.host.processes import run

# As login.defs(5) of shadow 4.13 gives them; SYS_UID_MAX and SYS_GID_MAX follow from UID_MIN and GID_MIN.
_DEFAULTS = {
    "UID_MIN": 1000, "UID_MAX": 60000, "SYS_UID_MIN": 101,
    "GID_MIN": 1000, "GID_MAX": 60000, "SYS_GID_MIN": 101,
    "SUB_UID_MIN": 100000, "SUB_UID_MAX": 600100000, "SUB_UID_COUNT": 65536,
    "SUB_GID_MIN": 100000, "SUB_GID_MAX": 600100000, "SUB_GID_COUNT": 65536,
}  # fmt: skip
_NO_LOGIN = ("/usr/sbin/nologin", "/sbin/nologin", "/usr/bin/nologin", "/bin/false")
_HIGHEST = 2**32 - 2  # (uid_t)-1 means "no user" to the kernel


@dataclass(frozen=True, slots=True)
class User:
    """A line of passwd(5)."""

    name: str
    uid: int
    gid: int
    gecos: str
    home: str
    shell: str

    @property
    def logs_in(self) -> bool:
        """Whether the shell lets anybody in. An empty one is /bin/sh: passwd(5)."""
        return os.path.basename(self.shell) not in ("nologin", "false")


@dataclass(frozen=True, slots=True)
class Group:
    """A line of group(5). `members` is the line's own list: it lacks those who have it as primary group."""

    name: str
    gid: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    uid: int
    name: str


@dataclass(frozen=True, slots=True)
class _Parsed:
    signature: tuple[int, ...] | None
    users: dict[str, User] = field(default_factory=dict)
    uids: dict[int, User] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    gids: dict[int, Group] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)


class Accounts:
    """The accounts of the host below `root`.

    Its files come first. What they lack is asked of NSS (sssd, LDAP, …), on the real root only: in a
    stand-in root, NSS would answer for the machine outside. A file is read again only when it has changed.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._parsed: dict[str, _Parsed] = {}

    @property
    def _asks_nss(self) -> bool:
        return self._root == Path("/")

    def users(self) -> list[User]:
        """The users of the passwd file, in its order."""
        return list(self._file("passwd").users.values())

    def groups(self) -> list[Group]:
        """The groups of the group file, in its order."""
        return list(self._file("group").groups.values())

    def user(self, name: str) -> User | None:
        return self._file("passwd").users.get(name) or self._nss_user(lambda: pwd.getpwnam(name))

    def user_by_id(self, uid: int) -> User | None:
        return self._file("passwd").uids.get(uid) or self._nss_user(lambda: pwd.getpwuid(uid))

    def group(self, name: str) -> Group | None:
        return self._file("group").groups.get(name) or self._nss_group(lambda: grp.getgrnam(name))

    def group_by_id(self, gid: int) -> Group | None:
        return self._file("group").gids.get(gid) or self._nss_group(lambda: grp.getgrgid(gid))

    def uid(self, name: str) -> int:
        """The uid of a user, given by name or by number. Raises NixadminError when there is none."""
        if (user := self.user(name)) is not None:
            return user.uid
        if (number := _number(name)) is not None:
            return number
        raise NixadminError(f"there is no user {name!r} on this host", "look at: getent passwd")

    def gid(self, name: str) -> int:
        """The gid of a group, given by name or by number. Raises NixadminError when there is none."""
        if (group := self.group(name)) is not None:
            return group.gid
        if (number := _number(name)) is not None:
            return number
        raise NixadminError(f"there is no group {name!r} on this host", "look at: getent group")

    def locked(self, name: str) -> bool | None:
        """Whether no password lets this user in; None when that is for root alone to read."""
        password = self._file("passwd").passwords.get(name, "x")
        if password == "x":
            try:
                # Without a line in shadow there is no password that could fit.
                password = self._file("shadow").passwords.get(name, "!")
            except PermissionError:
                return None
        return password.startswith(("!", "*"))

    def nologin(self) -> str:
        """The shell of those who must not log in, as this host has it."""
        return next((shell for shell in _NO_LOGIN if (self._root / shell[1:]).exists()), _NO_LOGIN[-1])

    def login_defs(self) -> dict[str, int]:
        """The id ranges of login.defs(5); what it does not say is as shadow has it built in."""
        said: dict[str, int] = {}
        for place in ("usr/etc/login.defs", "etc/login.defs"):  # openSUSE ships its own below /usr/etc
            for line in _lines(self._root / place):
                words = line.split()
                if len(words) > 1 and words[0] in {*_DEFAULTS, "SYS_UID_MAX", "SYS_GID_MAX"}:
                    try:
                        said[words[0]] = int(words[1], 0)
                    except ValueError:
                        continue
        ranges = _DEFAULTS | said
        return {"SYS_UID_MAX": ranges["UID_MIN"] - 1, "SYS_GID_MAX": ranges["GID_MIN"] - 1} | ranges

    def subordinate_uids(self) -> list[range]:
        """The ranges that subuid(5) hands out."""
        return list(_ranges(self._root / "etc/subuid"))

    def subordinate_gids(self) -> list[range]:
        """The ranges that subgid(5) hands out."""
        return list(_ranges(self._root / "etc/subgid"))

    def processes(self, uids: Iterable[int]) -> list[Process]:
        """The processes of the real root that run as one of these users; none in a stand-in root.

        A process with another root directory is a container's, whose uids are its own affair.
        """
        wanted = frozenset(uids)
        return list(_processes(wanted)) if self._asks_nss and wanted else []

    def rewrite(self, transform: Callable[[AccountFiles], AccountFiles], what: str) -> None:
        """Change the account files under all their locks: see `account_files.rewrite`, also for the errors.

        On the real root, `what` goes to the authorisation log, as useradd's doings do, and nscd forgets.
        """
        rewrite(self._root, transform)
        if self._asks_nss:
            syslog.syslog(syslog.LOG_AUTHPRIV | syslog.LOG_NOTICE, f"nixadmin: {what}")
            if os.path.exists("/run/nscd/socket"):
                for table in ("passwd", "group"):
                    run(["nscd", "--invalidate", table], ok=range(256))

    def tidy(self) -> None:
        """Remove the locks and drafts of a run that was killed. Raises as `rewrite` does."""
        if locked(self._root):
            rewrite(self._root, lambda files: files)

    def _file(self, name: str) -> _Parsed:
        path = self._root / "etc" / name
        try:
            found = path.stat()
            signature = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        except (FileNotFoundError, NotADirectoryError):
            signature = None
        known = self._parsed.get(name)
        if known is None or known.signature != signature:
            known = self._parsed[name] = _parsed(signature, name, _lines(path))
        return known

    def _nss_user(self, look: Callable[[], pwd.struct_passwd]) -> User | None:
        if not self._asks_nss:
            return None
        try:
            found = look()
        except (KeyError, ValueError, OverflowError):  # unknown; a NUL in the name; no such number
            return None
        return User(found.pw_name, found.pw_uid, found.pw_gid, found.pw_gecos, found.pw_dir, found.pw_shell)

    def _nss_group(self, look: Callable[[], grp.struct_group]) -> Group | None:
        if not self._asks_nss:
            return None
        try:
            found = look()
        except (KeyError, ValueError, OverflowError):
            return None
        return Group(found.gr_name, found.gr_gid, tuple(found.gr_mem))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_bytes().decode(errors="surrogateescape").split("\n")
    except (FileNotFoundError, NotADirectoryError):
        return []


def _number(text: str) -> int | None:
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        return None
    return number if (number := int(text)) <= _HIGHEST else None


def _parsed(signature: tuple[int, ...] | None, name: str, lines: list[str]) -> _Parsed:
    """Read as glibc's files module does: the first of a name counts, and what is no entry is passed over."""
    parsed = _Parsed(signature)
    for line in lines:
        fields = line.split(":")
        if len(fields) < 2 or not fields[0] or fields[0].startswith(("#", "+", "-")):
            continue  # a comment, or what compat(5) takes from NIS
        ids = [_number(text) for text in fields[2:4]]
        if name == "passwd":
            if len(fields) < 7 or ids[0] is None or ids[1] is None:
                continue
            user = User(fields[0], ids[0], ids[1], *fields[4:7])
            parsed.users.setdefault(user.name, user)
            parsed.uids.setdefault(user.uid, user)
        elif name == "group":
            if len(fields) < 3 or ids[0] is None:
                continue
            members = fields[3].split(",") if len(fields) > 3 else []
            group = Group(fields[0], ids[0], tuple(filter(None, members)))
            parsed.groups.setdefault(group.name, group)
            parsed.gids.setdefault(group.gid, group)
        parsed.passwords.setdefault(fields[0], fields[1])
    return parsed


def _ranges(path: Path) -> Iterator[range]:
    for line in _lines(path):
        _owner, *bounds = line.split(":")
        numbers = [_number(bound) for bound in bounds[:2]]
        if len(numbers) == 2 and numbers[0] is not None and numbers[1] is not None:
            yield range(numbers[0], numbers[0] + numbers[1])


def _processes(uids: frozenset[int]) -> Iterator[Process]:
    here = os.stat("/")
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            status = Path("/proc", pid, "status").read_text(errors="replace").splitlines()
            fields = dict(line.split(":", 1) for line in status if ":" in line)
            found = uids.intersection(map(int, fields["Uid"].split()))
            if found and os.path.samestat(os.stat(f"/proc/{pid}/root"), here):
                yield Process(int(pid), min(found), fields["Name"].strip())
        except (OSError, KeyError):
            continue  # it has ended meanwhile
