"""The Nix that a bundle is made from."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from nixadmin.errors import NixadminError
from nixadmin.host import processes
from nixadmin.host.elf import read_elf
from nixadmin.nix.store_path import STORE

_PLACES = f"{processes.PATH}:/nix/var/nix/profiles/default/bin"


@dataclass(frozen=True, slots=True)
class Source:
    """An installed Nix: its program with every link resolved, its version, and the system it was built for."""

    program: Path
    version: str
    system: str

    @property
    def in_store(self) -> bool:
        """Whether it already is a store path, so that its closure can be taken as it is."""
        return self.program.is_relative_to(STORE)


def find(nix: Path | None = None) -> Source:
    """Look at a `nix` program; when none is given, at the one in the usual places or in the default profile.

    Raises NixadminError where there is none, or it is no Nix.
    """
    named = shutil.which(str(nix) if nix else "nix", path=_PLACES)
    if named is None:
        raise NixadminError(
            f"there is no Nix at {nix}" if nix else "there is no Nix on this host to make a bundle from",
            "install one first, for example Debian's nix-bin",
        )
    program = Path(named).resolve()
    said = processes.run([program, "--version"]).out
    version = re.search(r"^nix .*\) ([0-9][0-9A-Za-z.+_-]*)$", said, re.MULTILINE)
    if not version:
        raise NixadminError(f"{program} does not tell which Nix it is: {said.strip()!r}", "name a nix program")
    return Source(program, version[1], _system(program))


def _system(program: Path) -> str:
    # A 32-bit Nix on a 64-bit kernel is for its own system: not the kernel is asked, but the program.
    inner = program.parent.parent / "libexec/nix/nix"  # what the script of a bundle of ours starts
    machine = read_elf(inner if inner.exists() else program).machine
    return f"{'powerpc64le' if machine == 'ppc64le' else machine}-linux"
