"""The build users and their group, as one thing."""

import re
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict
from typing_extensions import override

from nixadmin.engine.resource import Resource, shown
from nixadmin.engine.step import Step
from nixadmin.errors import ConflictError, NixadminError
from nixadmin.host import Host
from nixadmin.host.accounts import Accounts, User
from nixadmin.resources.pool_lines import rewritten


class BuildUser(BaseModel):
    """An account that one build at a time runs as. `gid` is its primary group's."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    uid: int
    gid: int
    comment: str
    home: str = "/var/empty"
    shell: str
    locked: bool = True


class Pool(Resource):
    """The group, and those who build.

    Nix takes the build users from the group's member list (gr_mem of getgrnam(3); Nix's user-lock.cc): the
    primary group of a user does not count. `members` is that list, in its order, without those who have an
    account and are no build users: they are nobody's to touch, and `strangers` tells of them. A member without
    an account stops Nix from building, and so it is shown.

    `gid` is None when the users are there but the group is not.
    """

    kind: Literal["pool"] = "pool"
    group: str
    gid: int | None
    users: tuple[BuildUser, ...]
    members: tuple[str, ...]

    @property
    @override
    def key(self) -> str:
        return self.group

    @override
    def observe(self, host: Host) -> Self | None:
        """The pool as it is: the users of this one, and whoever else builds for the group.

        Whether a password is locked can be read by root alone; anybody else is told that it is.
        """
        accounts = host.accounts
        group = accounts.group(self.group)
        found = {user.name: user for user in build_users(accounts, self.group)}
        for user in self.users:
            if user.name not in found and (known := accounts.user(user.name)) is not None:
                found[user.name] = known
        if group is None and not found:
            return None
        outside = strangers(accounts, self.group, found)
        listed = group.members if group else ()
        return self.model_copy(
            update={
                "gid": group.gid if group else None,
                "users": in_order(as_found(accounts, user) for user in found.values()),
                "members": tuple(name for name in listed if name not in outside),
            }
        )

    @override
    def tidy(self, host: Host) -> None:
        host.accounts.tidy()

    @override
    def create(self) -> Iterator[Step]:
        yield SetPool(None, self)

    @override
    def remove(self) -> Iterator[Step]:
        yield SetPool(self, None)

    @override
    def alter(self, before: Self) -> Iterator[Step]:
        """One step, in either direction.

        Raises ConflictError when it would change an id, for files belong to ids.
        """
        if None not in (before.gid, self.gid) and before.gid != self.gid:
            raise ConflictError(
                f"group {self.group} has gid {before.gid} instead of {self.gid}",
                f"files may belong to gid {before.gid}: if none do, groupmod -g {self.gid} {self.group}",
            )
        uids = {user.name: user.uid for user in before.users}
        for user in self.users:
            if uids.get(user.name, user.uid) != user.uid:
                raise ConflictError(
                    f"user {user.name} has uid {uids[user.name]} instead of {user.uid}",
                    f"files may belong to {uids[user.name]}: if none do, usermod -u {user.uid} {user.name}",
                )
        yield SetPool(before, self)

    @override
    def differences(self, before: Self) -> Iterator[str]:
        if before.gid != self.gid:
            yield f"gid {shown('gid', before.gid)} → {shown('gid', self.gid)}"
        old = {user.name: user for user in before.users}
        new = {user.name: user for user in self.users}
        if more := [name for name in new if name not in old]:
            yield f"more users: {named(more)}"
        if fewer := [name for name in old if name not in new]:
            yield f"fewer users: {named(fewer)}"
        changes: dict[str, list[str]] = {}
        for name, user in new.items():
            for field in BuildUser.model_fields if name in old else ():
                was, is_ = getattr(old[name], field), getattr(user, field)
                if was != is_:
                    changes.setdefault(f"{field} {shown(field, was)} → {shown(field, is_)}", []).append(name)
        for change, names in changes.items():
            yield f"{named(names)}: {change}"
        if joining := [name for name in self.members if name not in before.members]:
            yield f"more members: {named(joining)}"
        if leaving := [name for name in before.members if name not in self.members]:
            yield f"fewer members: {named(leaving)}"
        if not (joining or leaving) and before.members != self.members:
            yield "the same members, listed otherwise"


@dataclass(frozen=True, slots=True)
class SetPool(Step):
    """Make the account files hold `after` where they held `before`; all else in them stays as it is."""

    before: Pool | None
    after: Pool | None

    @override
    def perform(self, host: Host) -> None:
        """Raises NixadminError while a process runs as a user that goes, and as `Accounts.rewrite` does."""
        kept = {user.name for user in self.after.users} if self.after else set()
        going = {user.uid: user.name for user in (self.before.users if self.before else ()) if user.name not in kept}
        if busy := host.accounts.processes(going):
            told = ", ".join(f"{process.name} (pid {process.pid}) as {going[process.uid]}" for process in busy[:5])
            pids = " ".join(str(process.pid) for process in busy)
            raise NixadminError(
                f"build users have processes: {told}{' …' if len(busy) > 5 else ''}",
                f"let the builds end or kill {pids}, then run this again",
            )
        host.accounts.rewrite(lambda files: rewritten(files, self.before, self.after), str(self))

    @override
    def __str__(self) -> str:
        match self.before, self.after:
            case None, Pool() as pool:
                users = ", ".join(_numbered(pool.users))
                return f"add group {pool.group} ({pool.gid}) and its members {users}"
            case Pool() as pool, None:
                return f"remove group {pool.group} and users {named(user.name for user in pool.users)}"
            case Pool() as before, Pool() as pool:
                return f"change pool {pool.group}: {'; '.join(pool.differences(before))}"
        raise ValueError("a change from nothing to nothing")


def build_users(accounts: Accounts, group_name: str) -> list[User]:
    """Those who build for the group, or were meant to.

    That is who has the name of one (nixbld7), in the group or not, and what members have the group as
    primary group and no login shell.
    """
    group = accounts.group(group_name)
    pattern = re.compile(re.escape(group_name) + "[0-9]+")
    found = {user.name: user for user in accounts.users() if pattern.fullmatch(user.name)}
    for name in group.members if group else ():
        user = accounts.user(name)
        if user and group and (pattern.fullmatch(name) or (user.gid == group.gid and not user.logs_in)):
            found.setdefault(name, user)
    return list(found.values())


def strangers(accounts: Accounts, group_name: str, builders: Container[str]) -> list[str]:
    """Members of the group that have an account but are none of the builders.

    Nix would build as them, and kill all that they run (NixOS/nix#676).
    """
    group = accounts.group(group_name)
    others = (name for name in dict.fromkeys(group.members if group else ()) if name not in builders)
    return [name for name in others if accounts.user(name) is not None]


def as_found(accounts: Accounts, user: User) -> BuildUser:
    """An account of the host as a build user; nothing in it is corrected.

    Bytes that are no UTF-8 are shown as U+FFFD. They are never written back, for only what differs is.
    """
    locked = accounts.locked(user.name) is not False
    return BuildUser(
        name=user.name,
        uid=user.uid,
        gid=user.gid,
        comment=_shown(user.gecos),
        home=_shown(user.home),
        shell=_shown(user.shell),
        locked=locked,
    )


def _shown(text: str) -> str:
    return text.encode(errors="surrogateescape").decode(errors="replace")


def in_order(users: Iterable[BuildUser]) -> tuple[BuildUser, ...]:
    """As people count: nixbld9 comes before nixbld10."""
    return tuple(sorted(users, key=lambda user: (*_split(user.name), user.name)))


def named(names: Iterable[str]) -> str:
    """Names in few words: `nixbld1 … nixbld32, nixbld40`."""
    runs: list[list[tuple[str, int]]] = []
    for stem, number in sorted(_split(name) for name in names):
        if runs and runs[-1][-1] == (stem, number - 1) and number > 0:
            runs[-1].append((stem, number))
        else:
            runs.append([(stem, number)])
    return ", ".join(_run(run) for run in runs)


def _split(name: str) -> tuple[str, int]:
    found = re.fullmatch(r"(.*?)(0|[1-9][0-9]{0,8})", name, re.DOTALL)
    return (found[1], int(found[2])) if found else (name, -1)


def _run(run: list[tuple[str, int]]) -> str:
    names = [f"{stem}{number}" if number >= 0 else stem for stem, number in run]
    return f"{names[0]} … {names[-1]}" if len(names) > 2 else ", ".join(names)


def _numbered(users: Iterable[BuildUser]) -> Iterator[str]:
    """`nixbld1 … nixbld32 (30001 … 30032)`, one for each run of ids."""
    runs: list[list[BuildUser]] = []
    for user in users:
        if runs and runs[-1][-1].uid == user.uid - 1:
            runs[-1].append(user)
        else:
            runs.append([user])
    for run in runs:
        ids = f"{run[0].uid} … {run[-1].uid}" if len(run) > 1 else str(run[0].uid)
        yield f"{named(user.name for user in run)} ({ids})"
