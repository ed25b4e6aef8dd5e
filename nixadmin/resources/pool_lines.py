"""What a pool of build users is in passwd, shadow, gshadow and group."""

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from nixadmin.errors import NixadminError
from nixadmin.host.account_files import AccountFiles, Table

if TYPE_CHECKING:
    from nixadmin.resources.pool import BuildUser, Pool


def rewritten(files: AccountFiles, before: "Pool | None", after: "Pool | None") -> AccountFiles:
    """The account files with `after` in place of `before`; what differs between them is all that changes.

    Raises NixadminError when the files hold something else than `before` by now, and when a group that has
    to go is somebody's primary group. Either can be put right, so neither is for the receipt to forget.
    """
    passwd, group = Table(files.passwd), Table(files.group)
    shadow = None if files.shadow is None else Table(files.shadow)
    gshadow = None if files.gshadow is None else Table(files.gshadow)
    old = {user.name: user for user in before.users} if before else {}
    new = {user.name: user for user in after.users} if after else {}
    going = old.keys() - new.keys()
    for name in going:
        passwd.drop(name)
        if shadow:
            shadow.drop(name)
    if going:
        _leave_groups(going, group, gshadow)
    _add([user for name, user in new.items() if name not in old], passwd, shadow)
    for name in [name for name in new if name in old]:
        if old[name] != new[name] or (before and name not in before.members):
            _change(new[name], old[name], passwd, shadow)
    _set_group(before, after, passwd, group, gshadow)
    return AccountFiles(
        passwd=passwd.content,
        group=group.content,
        shadow=shadow.content if shadow else None,
        gshadow=gshadow.content if gshadow else None,
    )


def _add(users: Sequence["BuildUser"], passwd: Table, shadow: Table | None) -> None:
    names = {user.name: _told(user) for user in users}
    uids = {str(user.uid): user.name for user in users}
    there = set()
    for name, _password, *rest in passwd.entries():
        if names.get(name, rest) != rest or uids.get(rest[0] if rest else "", name) != name:
            raise NixadminError(f"user {name} ({':'.join(rest)}) has come meanwhile", "run this again")
        there.add(name)
    for user in users:
        if user.name not in there:
            passwd.put(user.name, "!" if shadow is None else "x", *_told(user))
        if shadow:
            _shadow_line(user, shadow)


def _told(user: "BuildUser") -> list[str]:
    return [str(user.uid), str(user.gid), user.comment, user.home, user.shell]


def _shadow_line(user: "BuildUser", shadow: Table) -> None:
    # No ageing, as `useradd --system` has it; the date is that of shadow(5), in days.
    shadow.put(user.name, "!", str(int(time.time()) // 86400), *[""] * 6)


def _change(user: "BuildUser", old: "BuildUser", passwd: Table, shadow: Table | None) -> None:
    fields = passwd.get(user.name)
    if fields is None or len(fields) < 7 or fields[2] != str(user.uid):
        raise NixadminError(
            f"user {user.name} ({user.uid}) is not in /etc/passwd",
            "if it comes from a directory service, change it there; else run this again",
        )
    for place, field in enumerate(("gid", "comment", "home", "shell"), start=3):
        if getattr(user, field) != getattr(old, field):
            fields[place] = str(getattr(user, field))
    where, secret = passwd, fields
    if fields[1] == "x" and shadow:
        found = shadow.get(user.name)
        if found is None:  # a power cut came between passwd and shadow
            _shadow_line(user, shadow)
        else:
            where, secret = shadow, found
    if user.locked and not old.locked and not secret[1].startswith("!"):
        secret[1] = f"!{secret[1]}"  # as `usermod --lock` does, so that it can be taken back
    elif old.locked and not user.locked:
        secret[1] = secret[1].removeprefix("!")
    where.put(*secret)
    if where is not passwd:
        passwd.put(*fields)


def _leave_groups(names: Iterable[str], group: Table, gshadow: Table | None) -> None:
    """Take users out of every group, as userdel does: their names may be another's one day."""
    gone = set(names)
    for table, lists in ((group, (3,)), (gshadow, (2, 3))):
        for fields in table.entries() if table else ():
            touched = False
            for place in lists:
                members = _split(fields, place)
                if not gone.isdisjoint(members):
                    fields[place] = ",".join(name for name in members if name not in gone)
                    touched = True
            if table and touched:
                table.put(*fields)


def _set_group(before: "Pool | None", after: "Pool | None", passwd: Table, group: Table, gshadow: Table | None) -> None:
    if after is None or after.gid is None:
        if before is not None and before.gid is not None:
            staying = {user.name for user in after.users} if after else set()
            _drop_group(before, staying, passwd, group)
        if before is not None and gshadow:
            gshadow.drop(before.group)  # also where a power cut came between group and gshadow
        return
    if before is None or before.gid is None:
        for fields in group.entries():
            if (fields[0] == after.group) != (fields[2:3] == [str(after.gid)]):
                raise NixadminError(f"group {':'.join(fields[:3])} has come meanwhile", "run this again")
        group.put(after.group, "x", str(after.gid), ",".join(after.members))
        if gshadow:
            gshadow.put(after.group, "!", "", ",".join(after.members))
        return
    if before.members == after.members:
        return
    listed = group.get(after.group)
    if listed is None or len(listed) < 3:
        raise NixadminError(
            f"group {after.group} is not in /etc/group: it comes from a directory service",
            f"change its members there: {', '.join(after.members)}",
        )
    members = _split(listed, 3)
    exactly = members == [name for name in before.members if name in members]
    merged = after.members if exactly else _merged(members, before.members, after.members)
    group.put(*listed[:3], ",".join(merged))
    hidden = gshadow.get(after.group) if gshadow else None
    if gshadow and hidden and len(hidden) > 3:
        # Its list may differ from group's, and members without an account are none of its business: so what
        # joins is added and what leaves is taken out, and the rest stays.
        users = {user.name for user in (*before.users, *after.users)}
        was, will_be = ([name for name in pool.members if name in users] for pool in (before, after))
        gshadow.put(*hidden[:3], ",".join(_merged(_split(hidden, 3), was, will_be)))


def _split(fields: list[str], place: int) -> list[str]:
    return [name for name in fields[place].split(",") if name] if len(fields) > place else []


def _merged(now: list[str], was: Sequence[str], will_be: Sequence[str]) -> list[str]:
    """The list as it is now, with what joins and without what leaves."""
    joining = [name for name in will_be if name not in was and name not in now]
    return [*(name for name in now if name not in was or name in will_be), *joining]


def _drop_group(before: "Pool", staying: set[str], passwd: Table, group: Table) -> None:
    theirs = (fields[0] for fields in passwd.entries() if fields[3:4] == [str(before.gid)])
    if others := [name for name in theirs if name not in staying]:
        raise NixadminError(
            f"group {before.group} is the primary group of {', '.join(others)}",
            " && ".join(f"usermod -g OTHER_GROUP {name}" for name in others),
        )
    group.drop(before.group)
