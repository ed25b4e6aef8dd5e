"""Taking away what a probe's build leaves on the host."""

import re
import time
from contextlib import suppress
from pathlib import Path

from nixadmin.errors import NixadminError
from nixadmin.host import Host

STORE = Path("/nix/store")
STATE = Path("/nix/var/nix")
LOGS = Path("/nix/var/log/nix/drvs")
# Nix before 2.4 or so makes these for whoever connects, under the name or, without one, the number.
PER_USER = (STATE / "profiles/per-user", STATE / "gcroots/per-user")
_TRIES, _PAUSE = 3, 0.2  # seconds
_PATIENCE = 20.0  # seconds for a deletion, which waits for a running garbage collection


def per_user(host: Host, label: str) -> frozenset[Path]:
    """The directories of one user that are there now."""
    return frozenset(parent / label for parent in PER_USER if host.files.inode(parent / label))


def clear_away(host: Host, programs: Path, name: str, home: Path, label: str, had: frozenset[Path]) -> str | None:
    """Remove every trace of the derivation `name`, which is nobody else's, and of its user.

    `home` is the private directory that the user had, `had` what `per_user` said before. What is not to be
    removed is for the next garbage collection: the answer says what, and why.
    """
    ours = re.compile(rf"([0-9a-z]{{32}})-{re.escape(name)}(\.drv)?(\.lock|\.chroot)?")
    found = [match for entry in host.files.names(STORE) if (match := ours.fullmatch(entry))]
    paths = [STORE / match[0] for match in found if not match[3]]
    left = _delete(host, programs, paths) if paths else None
    for match in found:
        if match[3] == ".lock":
            host.files.remove(STORE / match[0])
        elif match[3]:
            host.files.remove_tree(STORE / match[0])
        elif match[2]:
            _clear_log(host, f"{match[1]}-{name}.drv")
    for link in host.files.names(STATE / "gcroots/auto"):
        root = host.files.inode(STATE / "gcroots/auto" / link)
        if root and root.target and Path(root.target).is_relative_to(home):
            host.files.remove(STATE / "gcroots/auto" / link)
    for path in per_user(host, label) - had:
        with suppress(NixadminError):  # the user has put something there meanwhile
            host.files.remove(path)
    return left


def _delete(host: Host, programs: Path, paths: list[Path]) -> str | None:
    # Without regard to roots, since a root could only be somebody's who wants it to stay.
    argv: list[str | Path] = [programs / "nix-store", "--delete", "--ignore-liveness", *paths]
    left = None
    for _ in range(_TRIES):
        try:
            host.run(argv, env={"NIX_REMOTE": "local"}, timeout=_PATIENCE)
        except NixadminError as e:
            left = f"{', '.join(map(str, paths))}: {e}: {e.hint}"
            time.sleep(_PAUSE)  # the daemon may not be done with the build yet
        else:
            return None
    return left


def _clear_log(host: Host, derivation: str) -> None:
    directory = LOGS / derivation[:2]
    for suffix in ("", ".bz2", ".xz"):
        host.files.remove(directory / f"{derivation[2:]}{suffix}")
    if not host.files.names(directory):
        with suppress(NixadminError):  # the log of another build has come in between
            host.files.remove(directory)
