"""What an ELF program needs, as its own loader finds it."""

import re
from dataclasses import dataclass
from pathlib import Path

from nixadmin.errors import NixadminError
from nixadmin.host import processes

# Name service modules are loaded by name when a user or host is looked up. These only need what they bring;
# those of a site (sss, ldap, winbind) talk to services of the same version and stay the host's own.
_NAME_SERVICES = ("files", "dns", "compat", "systemd", "resolve", "myhostname", "mymachines")


@dataclass(frozen=True, slots=True)
class Needs:
    """The loader of a program, and every library it will load: soname to file."""

    loader: Path
    libraries: dict[str, Path]


def needs(program: Path) -> Needs:
    """Ask a program's own loader. Raises NixadminError for a static program or a missing library."""
    loader = interpreter(program)
    if loader is None:
        raise NixadminError(f"{program} is not dynamically linked", "name a nix of the distribution")
    libraries = _libraries(loader, program)
    directory = libraries["libc.so.6"].parent if "libc.so.6" in libraries else None
    for service in _NAME_SERVICES if directory else ():
        module = directory / f"libnss_{service}.so.2"
        if module.exists():
            libraries |= {module.name: module} | _libraries(loader, module)
    return Needs(loader, dict(sorted(libraries.items())))


def interpreter(program: Path) -> Path | None:
    """The loader that an ELF program names; None for a static one or a library."""
    from elftools.elf.elffile import ELFFile
    from elftools.elf.segments import InterpSegment

    with program.open("rb") as file:
        for segment in ELFFile(file).iter_segments():
            if isinstance(segment, InterpSegment):
                return Path(segment.get_interp_name())
    return None


def has_run_path(library: Path) -> bool:
    """Whether a library says where its own libraries are, which would win over the program's word."""
    from elftools.elf.dynamic import DynamicSection
    from elftools.elf.elffile import ELFFile

    with library.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".dynamic")
        if not isinstance(section, DynamicSection):
            return False
        return any(tag.entry.d_tag in ("DT_RUNPATH", "DT_RPATH") for tag in section.iter_tags())


def _libraries(loader: Path, file: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for line in processes.run([loader, "--list", file]).out.splitlines():
        words = line.split()
        if missing := re.fullmatch(r"\s*(\S+) => not found", line):
            raise NixadminError(f"{file} needs {missing[1]}, which is not on this host", "install it again")
        if len(words) >= 3 and words[1] == "=>" and words[2].startswith("/"):
            found[Path(words[0]).name] = Path(words[2])
    found.pop(loader.name, None)
    return found
