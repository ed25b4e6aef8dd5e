"""Whom the probe's build is done for: an ordinary user of the host, or one who exists only as a number."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nixadmin.errors import NixadminError
from nixadmin.host import Host
from nixadmin.host.accounts import User
from nixadmin.host.processes import Account

SOCKET = Path("/nix/var/nix/daemon-socket")


@dataclass(frozen=True, slots=True)
class Visitor:
    """An ordinary user; `name` is None for a uid without an entry in passwd, which the daemon takes as well.

    (Seen with Nix 2.8, 2.26 and 2.34; `allowed-users` sees such a user's number as the name.)
    """

    account: Account
    name: str | None

    @property
    def label(self) -> str:
        return self.name or f"uid {self.account.uid}"


def choose_visitor(host: Host, people: Sequence[User]) -> Visitor:
    """The first of the people whom the daemon's socket is open to, or else a uid that nobody has.

    Raises NixadminError when no uid is free.
    """
    directory = host.files.inode(SOCKET)
    restricted = directory is not None and not directory.mode & 0o001
    for user in people:
        groups = _groups(host, user)
        if not restricted or (directory is not None and directory.gid in groups):
            return Visitor(Account(user.uid, user.gid, groups), user.name)
    uid = _free_uid(host)
    gid = directory.gid if restricted and directory is not None and directory.gid != 0 else uid
    return Visitor(Account(uid, gid), None)


def _groups(host: Host, user: User) -> tuple[int, ...]:
    return (user.gid, *(group.gid for group in host.accounts.groups() if user.name in group.members))


def _free_uid(host: Host) -> int:
    """From the end of the ordinary users' range, where no user and no group has the number, and nobody runs."""
    limits = host.accounts.login_defs()
    lent = (*host.accounts.subordinate_uids(), *host.accounts.subordinate_gids())
    for number in range(limits["UID_MAX"], limits["UID_MIN"], -1):
        taken = host.accounts.user_by_id(number) or host.accounts.group_by_id(number)
        if not taken and not any(number in numbers for numbers in lent) and not _busy(host, [number]):
            return number
    raise NixadminError("no uid is free for a probe", "look at UID_MIN and UID_MAX in /etc/login.defs")


def _busy(host: Host, uids: Iterable[int]) -> bool:
    return bool(host.accounts.processes(uids))
