"""The Nix that a bundle is made from."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from nixadmin.errors import NixadminError
from nixadmin.host import processes
from nixadmin.nix.store_path import STORE

# What an ELF header calls a machine, and what Nix calls the system (a 32-bit Nix on a 64-bit kernel is i686).
_SYSTEMS = {
    "EM_X86_64": "x86_64-linux",
    "EM_386": "i686-linux",
    "EM_AARCH64": "aarch64-linux",
    "EM_ARM": "armv7l-linux",
    "EM_RISCV": "riscv64-linux",
    "EM_PPC64": "powerpc64le-linux",
    "EM_S390": "s390x-linux",
    "EM_LOONGARCH": "loongarch64-linux",
}


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
    """Look at a `nix` program; at the one in PATH when none is given. Raises NixadminError where there is none."""
    named = str(nix) if nix else shutil.which("nix", path=processes.PATH)
    named = named or shutil.which("nix", path="/nix/var/nix/profiles/default/bin")
    if not named or not Path(named).exists():
        raise NixadminError(
            f"there is no Nix at {named}" if named else "there is no Nix on this host to make a bundle from",
            "install one first, for example Debian's nix-bin",
        )
    program = Path(named).resolve()
    said = processes.run([program, "--version"]).out
    version = re.search(r"\) ([0-9][0-9A-Za-z.+_-]*)\s*$", said)
    if not version:
        raise NixadminError(f"{program} does not tell its version: {said.strip()!r}", "is it Nix?")
    return Source(program, version[1], _system(program))


def _system(program: Path) -> str:
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    with program.open("rb") as file:
        try:
            machine = ELFFile(file)["e_machine"]
        except ELFError as e:
            raise NixadminError(f"{program} is not an ELF program", "name the nix program itself") from e
    if machine not in _SYSTEMS:
        raise NixadminError(f"Nix for {machine} is not known here", f"known are {', '.join(_SYSTEMS)}")
    return _SYSTEMS[machine]
