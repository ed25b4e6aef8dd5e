"""What Nix and its login script leave in people's homes: links that lead into the store and nothing else."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from typing_extensions import override

from nixadmin.host import Host
from nixadmin.host.accounts import User
from nixadmin.host.processes import Account
from nixadmin.host.session import as_account
from nixadmin.provision.layout import STATE
from nixadmin.templates import shell

# A link, or a directory that holds nothing but such links.
_PROFILE = ".nix-profile"
_XDG_STATE = ".local/state/nix"  # where a user's profiles are since Nix 2.14, and where the link then leads
_NAMES = (_PROFILE, ".nix-defexpr", _XDG_STATE)
# The login script subscribes root to a channel; a list that says just that was not written by a person.
_CHANNELS = ".nix-channels"
_INTO_THE_STORE = (f"{STATE}/", "/nix/store/")


@dataclass(frozen=True, slots=True)
class HomeTrace:
    """Something in a home that is of no use once the store is gone."""

    user: User
    path: Path

    @override
    def __str__(self) -> str:
        return str(self.path)


def find_traces(host: Host, login_script: str) -> Iterator[HomeTrace]:
    """The traces in the homes of root and of everybody in the passwd file, as each of them sees it.

    `login_script` is the one that nixadmin has installed: what it writes is its own.
    """
    for user in host.accounts.users():
        home = Path(user.home)
        if user.logs_in and home.is_absolute() and home != Path("/"):
            for name in as_account(_account(user), partial(_found, host.at(home), home, login_script)):
                yield HomeTrace(user, home / name)


def remove_traces(host: Host, traces: tuple[HomeTrace, ...]) -> None:
    """Remove them, each as the user whose home it is, so that a planted link gains nobody anything."""
    for trace in traces:
        as_account(_account(trace.user), partial(_remove, host.at(trace.path)))


def _account(user: User) -> Account:
    return Account(user.uid, user.gid)


def _found(home: Path, called: Path, login_script: str) -> list[str]:
    """The traces in `home`, which its owner's links call `called`."""
    found = [name for name in _NAMES if _only_leads_into_the_store(home / name)]
    profile = home / _PROFILE
    if profile.is_symlink() and os.readlink(profile).startswith(f"{called / _XDG_STATE}/"):
        found.append(_PROFILE)
    channels = home / _CHANNELS
    if channels.is_file() and not channels.is_symlink() and channels.stat().st_size < 1000:
        said = channels.read_text(errors="replace").strip()
        found += [_CHANNELS] * (said != "" and f"echo {shell(said)} >" in login_script)
    return found


def _only_leads_into_the_store(path: Path) -> bool:
    try:
        if path.is_symlink():
            return os.readlink(path).startswith(_INTO_THE_STORE) or _to_sibling_generation(path)
        entries = list(path.iterdir())
    except OSError:
        return False
    return bool(entries) and all(_only_leads_into_the_store(entry) for entry in entries)


def _to_sibling_generation(path: Path) -> bool:
    """Nix since 2.14 links profile -> profile-1-link -> /nix/store/…, all in the home."""
    target = os.readlink(path)
    return "/" not in target and (path.parent / target).is_symlink() and target.startswith(f"{path.name}-")


def _remove(path: Path) -> list[str]:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        for entry in path.iterdir():
            _remove(entry)
        path.rmdir()
    return []
