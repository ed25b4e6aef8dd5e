"""Users' own directories in the store: who has some, and making or retiring one user's."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from nixadmin.engine.performing import perform
from nixadmin.engine.planning import Goal, plan_goals
from nixadmin.engine.receipt import Receipt
from nixadmin.errors import NixadminError
from nixadmin.host import Host
from nixadmin.host.lock import lock
from nixadmin.provision.layout import PER_USER, STATE
from nixadmin.resources import Directory

_AUTO = STATE / "gcroots/auto"


@dataclass(frozen=True, slots=True)
class StoreUser:
    """A user with directories of their own in the store: profiles and garbage-collector roots, by number."""

    name: str
    has_account: bool
    generations: int
    roots: int


@dataclass(frozen=True, slots=True)
class StoreExtent:
    """How much a purge would remove: bytes on the disk, and users with profiles of their own."""

    bytes: int
    users: int


def own_directories(host: Host, name: str) -> list[Directory]:
    """The directories in which one user's profiles and roots are kept, as they should be.

    Raises NixadminError for a user that the host does not know.
    """
    user = host.accounts.user(name)
    if user is None:
        raise NixadminError(f"{name!r} is no user of this host", "look at the name: getent passwd")
    # Of root's group, as Nix's daemon leaves them whenever that user connects (seen with 2.8).
    return [Directory(path=parent / user.name, owner=user.name, data=True) for parent in PER_USER]


def store_users(host: Host) -> list[StoreUser]:
    """The users who have directories of their own in the store, by name."""
    names = {name for parent in PER_USER for name in host.files.names(parent)}
    return [_store_user(host, name) for name in sorted(names)]


def store_extent(host: Host) -> StoreExtent:
    """How large the store is. It takes as long as du(1) does."""
    used = host.run(["du", "-skx", host.at(Path("/nix/store"))], ok=(0, 1)).out.split()
    profiles = PER_USER[0]
    users = sum(bool(host.files.names(profiles / name)) for name in host.files.names(profiles))
    return StoreExtent(int(used[0]) * 1024 if used else 0, users)


def add_user(host: Host, name: str) -> bool:
    """Make one user's directories. False when they are there already.

    Raises NixadminError for an unknown user, or before the host is provisioned.
    """
    _refuse_ordinary_users()
    directories = own_directories(host, name)
    if host.files.inode(PER_USER[0]) is None:
        raise NixadminError("this host is not provisioned yet", "nixadmin provision makes every user's directories")
    with lock(host):
        receipt = Receipt.load(host)
        wanted = plan_goals([Goal(one, one) for one in directories], receipt, host)
        perform(wanted, receipt, host)
    return bool(wanted.changes)


def retire_user(host: Host, name: str) -> StoreUser:
    """Remove one user's profiles and roots, so that what only they held is garbage.

    Their results elsewhere (`./result` links) hold nothing any more either, if their home is known. The account and
    the home are not touched, and no link is followed.

    Returns what there was. Raises NixadminError when there is nothing.
    """
    _refuse_ordinary_users()
    if "/" in name or name in ("", ".", ".."):
        raise NixadminError(f"{name!r} is no name of a user", "see who has directories: nixadmin users list")
    with lock(host):
        there = [path for path in (parent / name for parent in PER_USER) if host.files.inode(path)]
        if not there:
            raise NixadminError(f"{name} has no directories in the store", "see who has: nixadmin users list")
        was = _store_user(host, name)
        receipt = Receipt.load(host)
        subjects = [Directory(path=path, data=True) for path in there]
        perform(plan_goals([Goal(one, None, undoing=True) for one in subjects], receipt, host), receipt, host)
        for link in _results_of(host, name):
            host.files.remove(link)
    return was


def _store_user(host: Host, name: str) -> StoreUser:
    profiles, roots = (host.files.names(parent / name) for parent in PER_USER)
    return StoreUser(
        name=name,
        has_account=host.accounts.user(name) is not None,
        generations=sum(re.search(r"-\d+-link$", entry) is not None for entry in profiles),
        roots=len(roots) + len(_results_of(host, name)),
    )


def _results_of(host: Host, name: str) -> list[Path]:
    """The indirect roots that lead into the user's home."""
    user = host.accounts.user(name)
    if user is None or user.home in ("", "/"):
        return []
    links = {_AUTO / link: host.files.inode(_AUTO / link) for link in host.files.names(_AUTO)}
    return [path for path, link in links.items() if link and (link.target or "").startswith(f"{user.home}/")]


def _refuse_ordinary_users() -> None:
    if os.geteuid() != 0:
        raise NixadminError("the directories of users belong to root's work, and you are not root", "run it with sudo")
