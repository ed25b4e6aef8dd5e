"""What these verbs need of the layers below and do not find there yet."""

from dataclasses import dataclass
from pathlib import Path

from nixadmin.errors import NixadminError
from nixadmin.host import Host

STORE = Path("/nix/store")
PROFILES = Path("/nix/var/nix/profiles/per-user")


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


def store_extent(host: Host) -> StoreExtent:
    """How large the store is. It takes as long as du(1) does."""
    used = host.run(["du", "-skx", host.at(STORE)], ok=(0, 1)).out.split()
    names = host.files.names(PROFILES)
    users = sum(bool(host.files.names(PROFILES / name)) for name in names)
    return StoreExtent(int(used[0]) * 1024 if used else 0, users)


def store_users(_host: Host) -> list[StoreUser]:
    """The users who have directories of their own in the store, by name."""
    raise _missing("users list")


def add_user(_host: Host, name: str) -> bool:
    """Make one user's directories. False when they are there already.

    Raises NixadminError for an unknown user.
    """
    raise _missing(f"users add {name}")


def retire_user(_host: Host, name: str) -> StoreUser:
    """Remove one user's profiles and roots, so that what only they held is garbage.

    Returns what there was. Raises NixadminError when there is nothing.
    """
    raise _missing(f"users remove {name}")


def _missing(what: str) -> NixadminError:
    return NixadminError(f"this nixadmin cannot do `{what}` yet", "take a newer one")
