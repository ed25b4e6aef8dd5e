"""Nix's own programs, as the host has them."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nixadmin.host import Host
from nixadmin.nix.registration import Registration, render

DEFAULT_PROFILE = Path("/nix/var/nix/profiles/default")
STORE = Path("/nix/store")

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
        if not paths or self.host.files.inode(Path("/nix/var/nix/db/db.sqlite")) is None:
            return frozenset()
        nix_store = self.programs / "nix-store"
        checked: list[str | Path] = [nix_store, "--check-validity", "--print-invalid", *paths]
        invalid = self.host.run_inside(checked, env=self._reading()).out.split()
        return frozenset(paths) - frozenset(map(Path, invalid))

    def register(self, registrations: Sequence[Registration]) -> None:
        """Tell the database of paths that are in the store already (`nix-store --load-db`)."""
        text = render(registrations)
        self.host.run_inside([self.programs / "nix-store", "--load-db"], env=_LOCAL, stdin=text)

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

    def _reading(self) -> dict[str, str]:
        # An ordinary user may not open the database but may ask the daemon.
        return _LOCAL if os.geteuid() == 0 else {"NIX_REMOTE": "daemon"}


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
