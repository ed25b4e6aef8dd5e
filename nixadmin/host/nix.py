"""Nix's own programs, as the host has them."""

import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from nixadmin.errors import NixadminError
from nixadmin.host import Host
from nixadmin.nix.registration import Registration, render

DEFAULT_PROFILE = Path("/nix/var/nix/profiles/default")
STORE = Path("/nix/store")
_DATABASE = Path("/nix/var/nix/db/db.sqlite")

# Straight to the store, as root: no daemon is needed, and no variable of the caller's leads elsewhere.
_LOCAL = {"NIX_REMOTE": "local"}


@dataclass(frozen=True, slots=True)
class Nix:
    """The Nix whose programs lie in `programs`, a path on the host."""

    host: Host
    programs: Path

    def version(self) -> str:
        """What `nix-store --version` prints last, such as `2.8.0`."""
        # Told to ask the daemon, it does not open the store, which would make the store's directories.
        said = self.host.run_inside([self.programs / "nix-store", "--version"], env={"NIX_REMOTE": "daemon"}).out
        return said.split()[-1]

    def valid(self, paths: Sequence[Path]) -> frozenset[Path]:
        """Those of the paths that the store's database knows."""
        # Nix itself, asked as root, makes the directories that it misses, and follows links to do so.
        import sqlite3

        where = self.host.files.inode(_DATABASE)
        if not paths or where is None or where.kind != "file":
            return frozenset()
        log = self.host.files.inode(_DATABASE.with_name(f"{_DATABASE.name}-wal"))
        # Without a log, nobody is writing, and reading needs no lock, for which a file would have to be made.
        how = "mode=ro" if log is not None and log.size else "mode=ro&immutable=1"
        place = quote(str(self.host.at(_DATABASE)))
        marks = ", ".join("?" * len(paths))
        try:
            with closing(sqlite3.connect(f"file:{place}?{how}", uri=True)) as database:
                if not database.execute("select 1 from sqlite_master where name = 'ValidPaths'").fetchone():
                    return frozenset()  # a Nix that was killed had just begun to make it
                found = database.execute(f"select path from ValidPaths where path in ({marks})", [*map(str, paths)])
                return frozenset(Path(path) for (path,) in found)
        except sqlite3.Error as e:
            raise NixadminError(
                f"{_DATABASE} cannot be read: {e}", f"restore it from a backup, or move it away: mv {_DATABASE} /root"
            ) from e

    def register(self, registrations: Sequence[Registration]) -> None:
        """Tell the database of paths that are in the store already (`nix-store --load-db`)."""
        if self.host.files.inode(_DATABASE) is None:
            # Nix makes a database where none was yet, which it tells by this file.
            self.host.files.remove(_DATABASE.with_name("schema"))
        text = render(registrations)
        self.host.run_inside([self.programs / "nix-store", "--load-db"], env=_LOCAL, stdin=text)

    def forget_missing(self) -> None:
        """Take paths that are no more in the store out of the database (`nix-store --verify`)."""
        # It exits 1 when it found one that others need; that is an answer.
        self.host.run_inside([self.programs / "nix-store", "--verify"], env=_LOCAL, ok=(0, 1))

    def delete(self, paths: Sequence[Path]) -> None:
        """Delete paths from the store; those that are still in use make it fail."""
        self.host.run_inside([self.programs / "nix-store", "--delete", *paths], env=_LOCAL)

    def install(self, profile: Path, packages: Sequence[Path]) -> None:
        """Add packages to a profile, as its next generation.

        The environment is put together by Nix itself (a builtin builder), which needs no sandbox: this works
        before the sandbox does.
        """
        nix_env = self.programs / "nix-env"
        unsandboxed = ("--option", "sandbox", "false")
        self.host.run_inside((nix_env, "--profile", profile, "--install", *packages, *unsandboxed), env=_LOCAL)

    def erase(self, profile: Path, names: Sequence[str]) -> None:
        """Take packages out of a profile, by their names."""
        self.host.run_inside([self.programs / "nix-env", "--profile", profile, "--uninstall", *names], env=_LOCAL)


def packages_of(host: Host, profile: Path) -> tuple[Path, ...]:
    """The packages that a profile's present generation was made of, as store paths; empty without a profile."""
    generation = host.files.inode(profile)
    if generation is None or generation.target is None:
        return ()
    link = host.files.inode(profile.parent / generation.target)
    if link is None or link.target is None:
        return ()
    for manifest in ("manifest.nix", "manifest.json"):
        inode = host.files.inode(Path(link.target) / manifest)
        if inode is not None and inode.kind == "link" and inode.target is not None:
            text = host.files.read(Path(inode.target)).decode()
        elif inode is not None:
            text = host.files.read(Path(link.target) / manifest).decode()
        else:
            continue
        return tuple(dict.fromkeys(Path(found) for found in re.findall(r"/nix/store/[0-9a-z]{32}-[^\"/\s]+", text)))
    return ()
