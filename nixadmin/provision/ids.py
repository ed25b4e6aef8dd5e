"""Which names and ids the build users get on this host."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from nixadmin.errors import ConflictError, NixadminError, UsageError
from nixadmin.host.accounts import Accounts, Group, User
from nixadmin.resources.pool import (
    BuildUser,
    Pool,
    as_found,
    build_users,
    in_order,
    named,
    strangers,
)

# A build user is a slot for one local build, and Linux hosts end at some hundred CPU threads. More would not
# fit into the thousand that begins at 30000.
MOST = 999
_LONGEST = 32  # characters in a name: useradd(8)
# Ids given statically end at 200 on Fedora and at 99 on Debian; `useradd --system` takes from 999 downwards,
# Debian's adduser from 100 upwards. Between them lie the least sought after.
_FIRST_SYSTEM_BLOCK = 300


@dataclass(frozen=True, slots=True)
class Wish:
    """What the configuration asks for. `max_jobs` is the number of builds that Nix runs at once."""

    group: str = "nixbld"
    gid: int = 30000
    first_uid: int = 30001
    count: int = 32
    max_jobs: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """The pool to declare, and what people should be told about it, a sentence each."""

    pool: Pool
    notes: tuple[str, ...] = ()


def check(wish: Wish) -> None:
    """Raises UsageError for a wish that no host could fulfil."""
    if not 1 <= wish.count <= MOST:
        raise UsageError(
            f"a pool of {wish.count} build users cannot be",
            f"ask for 1 to {MOST}: each serves one build at a time, so as many as max-jobs do",
        )
    if wish.max_jobs > MOST:
        raise UsageError(f"max-jobs = {wish.max_jobs} is more than {MOST}", f"set max-jobs to {MOST} or less")
    room = _LONGEST - len(str(MOST))
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", wish.group) or len(wish.group) > room:
        raise UsageError(
            f"{wish.group!r} cannot name the group of the build users",
            f"use letters, digits, _ . and -, a letter or _ first, {room} characters at most",
        )
    for what, number in (("gid", wish.gid), ("first uid", wish.first_uid)):
        if not 1 <= number <= 2**31 - 1 - MOST:
            raise UsageError(f"{what} {number} cannot be given to build users", "take one like 30000")


def choose(accounts: Accounts, wish: Wish, known: Pool | None = None, original: Pool | None = None) -> Choice:
    """Fit a wish to the host: adopt what is there, and give free ids to what is new.

    `known` is the pool as nixadmin last left it (the receipt's after), `original` as it was before nixadmin
    came (the receipt's before). Nothing is changed, and the same host gives the same answer.

    Raises UsageError for a wish that cannot be, ConflictError when a person is in the group or a build user
    shares its uid, and NixadminError when no ids are free.
    """
    check(wish)
    group = accounts.group(wish.group)
    existing = _existing(accounts, wish.group, known)
    _refuse_strangers(accounts, wish.group, existing)
    _refuse_shared_ids(accounts, group, existing)
    count = max(wish.count, wish.max_jobs)
    staying = _staying(existing, count, known, original)
    names = _new_names(accounts, wish.group, count - len(staying), staying, known)
    numbers = _Numbers(accounts, wish, group, existing, known)
    gid, uids = numbers.choose(names)
    notes = [*numbers.notes, *_notes(wish, group, staying, count, known)]
    shell = accounts.nologin()
    fresh = [
        BuildUser(name=name, uid=uid, gid=gid, comment=f"Nix build user {number}", shell=shell)
        for name, uid in uids.items()
        for number in [name.removeprefix(wish.group)]
    ]
    remembered = {user.name: user for user in known.users} if known else {}
    users = in_order(
        _corrected(user, gid, shell, remembered.get(user.name))
        for user in [*(as_found(accounts, user) for user in staying), *fresh]
    )
    members = {user.name for user in users}
    listed = tuple(dict.fromkeys(group.members)) if group else ()
    if ghosts := [name for name in listed if accounts.user(name) is None and name not in members]:
        notes.append(f"{named(ghosts)} in group {wish.group}: no such account, so Nix would not build; taken out")
    kept = [name for name in listed if name in members]
    joining = [user.name for user in users if user.name not in kept]
    return Choice(Pool(group=wish.group, gid=gid, users=users, members=(*kept, *joining)), tuple(notes))


def _existing(accounts: Accounts, group: str, known: Pool | None) -> list[User]:
    found = {user.name: user for user in build_users(accounts, group)}
    for remembered in known.users if known else ():
        if remembered.name not in found and (user := accounts.user(remembered.name)) is not None:
            found[user.name] = user
    return list(found.values())


def _refuse_strangers(accounts: Accounts, group: str, existing: list[User]) -> None:
    if names := strangers(accounts, group, {user.name for user in existing}):
        who = "is no build user" if len(names) == 1 else "are no build users"
        raise ConflictError(
            f"{', '.join(names)} in group {group} {who}: Nix would build as them, and kill all that they run",
            " && ".join(shlex.join(["gpasswd", "--delete", name, group]) for name in names),
        )


def _refuse_shared_ids(accounts: Accounts, group: Group | None, existing: list[User]) -> None:
    """Nix builds by uid, and kills all that runs by that uid: it must be nobody else's."""
    if group is not None and group.gid == 0:
        raise ConflictError(
            f"group {group.name} has gid 0, which is root's",
            f"give it a gid of its own: groupmod -g GID {group.name}",
        )
    owners: dict[int, list[str]] = {0: ["root"]}
    for user in accounts.users():
        owners.setdefault(user.uid, []).append(user.name)
    for user in existing:
        if others := [name for name in owners.get(user.uid, ()) if name != user.name]:
            raise ConflictError(
                f"build user {user.name} shares uid {user.uid} with {', '.join(dict.fromkeys(others))}",
                f"give it a uid of its own, or remove it: userdel {user.name}",
            )


def _staying(existing: list[User], count: int, known: Pool | None, original: Pool | None) -> list[User]:
    """All that are there; but of those that nixadmin made, the last go when more are there than asked for."""
    theirs = {user.name for user in original.users} if original else set()
    here = {user.name for user in existing}
    made = [user.name for user in known.users if user.name in here - theirs] if known else []
    surplus = max(0, len(existing) - count)
    going = set(made[len(made) - min(surplus, len(made)) :])
    return [user for user in existing if user.name not in going]


def _new_names(accounts: Accounts, stem: str, need: int, staying: list[User], known: Pool | None) -> list[str]:
    """Those that the receipt knows come first, so that who is gone comes back as who it was."""
    if need <= 0:
        return []
    lost = [user.name for user in known.users] if known else []
    numbered = (f"{stem}{number}" for number in range(1, MOST + len(staying) + 1))
    taken = {user.name for user in staying}
    candidates = (name for name in dict.fromkeys([*lost, *numbered]) if name not in taken)
    free = (name for name in candidates if accounts.user(name) is None)
    return [name for name, _ in zip(free, range(need), strict=False)]


def _corrected(user: BuildUser, gid: int, shell: str, known: BuildUser | None) -> BuildUser:
    """What must be right is set right, and all else is as it is, or as nixadmin once left it."""
    logs_in = User(user.name, user.uid, user.gid, user.comment, user.home, user.shell).logs_in
    right: dict[str, object] = {"gid": gid, "locked": True, "shell": shell if logs_in else user.shell}
    if known is not None:
        right |= {"comment": known.comment, "home": known.home, "shell": known.shell}
    return user.model_copy(update=right)


def _notes(wish: Wish, group: Group | None, staying: list[User], count: int, known: Pool | None) -> Iterator[str]:
    if count > wish.count:
        yield f"max-jobs is {wish.max_jobs}, so there are {count} build users instead of {wish.count}"
    if known is not None:
        return
    if group is not None and group.gid != wish.gid:
        yield f"group {wish.group} is there with gid {group.gid}, and keeps it"
    if staying:
        yield f"{named(user.name for user in staying)} are there, and keep their uids"
    if len(staying) > count:
        yield f"that is {len(staying)} build users where {count} were asked for: all stay"


class _Numbers:
    """Ids for what is new. What is there keeps its own."""

    def __init__(
        self, accounts: Accounts, wish: Wish, group: Group | None, existing: list[User], known: Pool | None
    ) -> None:
        self._accounts, self._wish, self._group, self._known = accounts, wish, group, known
        self._handed_out = [*accounts.subordinate_uids(), *accounts.subordinate_gids()]
        # Where the group is lost, the lines of its users still have its gid: nobody else's.
        own = {user.name for user in existing}
        others = (user for user in accounts.users() if user.name not in own)
        self._primary = {user.gid: user.name for user in others}
        self.notes: list[str] = []

    def choose(self, names: list[str]) -> tuple[int, dict[str, int]]:
        """The gid, and the uids of these new users."""
        gid = self._group.gid if self._group else (self._known.gid if self._known else None) or self._wish.gid
        uids = self._wanted(names)
        gid_owner = None if self._group else self._owner_of_gid(gid)
        clash = next(((uid, owner) for uid in uids.values() if (owner := self._owner_of_uid(uid))), None)
        if gid_owner is None and clash is None and len(set(uids.values())) == len(uids):
            return gid, uids
        block = self._free_block(1 + len(names))
        if gid_owner is not None:
            self.notes.append(f"gid {gid} belongs to {gid_owner}; {block} is free and was chosen")
        elif self._group is None:
            self.notes.append(f"gid {block} was chosen, so that it stands beside the uids")
        if names:
            because = f"uid {clash[0]} belongs to {clash[1]}; " if clash else ""
            last = f" … {block + len(names)}" if len(names) > 1 else ""
            self.notes.append(f"{because}{block + 1}{last} for {named(names)} are free and were chosen")
        moved = dict(zip(names, range(block + 1, block + 1 + len(names)), strict=True))
        return (self._group.gid if self._group else block), moved

    def _wanted(self, names: list[str]) -> dict[str, int]:
        remembered = {user.name: user.uid for user in self._known.users} if self._known else {}
        return {
            name: remembered[name]
            if name in remembered
            else self._wish.first_uid - 1 + int(name.removeprefix(self._wish.group))
            for name in names
        }

    def _owner_of_uid(self, uid: int) -> str | None:
        if (user := self._accounts.user_by_id(uid)) is not None:
            return f"user {user.name}"
        return self._range_of(uid)

    def _owner_of_gid(self, gid: int) -> str | None:
        if (group := self._accounts.group_by_id(gid)) is not None:
            return f"group {group.name}"
        if gid in self._primary:
            return f"user {self._primary[gid]}, as primary group"
        return self._range_of(gid)

    def _range_of(self, number: int) -> str | None:
        taken = any(number in handed_out for handed_out in self._handed_out)
        return "a range of /etc/subuid or /etc/subgid" if taken else None

    def _free_block(self, size: int) -> int:
        """The first of `size` ids that are free as uids and gids.

        Among the system's ids, where no login screen looks (NixOS/nix#7068) and from which no person's next
        uid is reckoned; else among people's, near what was wished for. Blocks begin at whole hundreds.
        Raises NixadminError when there is none.
        """
        defs = self._accounts.login_defs()
        start = max(_FIRST_SYSTEM_BLOCK, defs["SYS_UID_MIN"], defs["SYS_GID_MIN"])
        system = _hundreds(start, min(defs["SYS_UID_MAX"], defs["SYS_GID_MAX"]), size)
        start = max(defs["UID_MIN"], defs["GID_MIN"])
        people = _hundreds(start, min(defs["UID_MAX"], defs["GID_MAX"]), size)
        wished = self._wish.gid
        near = sorted(people, key=lambda first: (first < wished, abs(first - wished)))
        for first in chain(system, near):
            block = range(first, first + size)
            if not any(self._owner_of_uid(id_) or self._owner_of_gid(id_) for id_ in block):
                return first
        raise NixadminError(
            f"no {size} contiguous ids are free for the build users",
            "make room, or name a first uid and a gid that are free",
        )


def _hundreds(start: int, last: int, size: int) -> range:
    """The whole hundreds from `start` on at which `size` ids end at `last` or before."""
    return range(-(-start // 100) * 100, last - size + 2, 100)
