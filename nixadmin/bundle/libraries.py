"""The libraries that a program needs, as its own loader finds them."""

import re
from dataclasses import dataclass
from pathlib import Path

from nixadmin.errors import NixadminError
from nixadmin.host import processes
from nixadmin.host.elf import read_elf

# Name service modules are loaded by name when a user or host is looked up. These only need what they bring;
# those of a site (sss, ldap, winbind) talk to services of the same version and stay the host's own.
_NAME_SERVICES = ("files", "dns", "compat", "systemd", "resolve", "myhostname", "mymachines")


@dataclass(frozen=True, slots=True)
class Needs:
    """The loader of a program, and every library it will load: soname to file, by soname."""

    loader: Path
    libraries: dict[str, Path]


def needs(program: Path) -> Needs:
    """Ask a program's own loader. Raises NixadminError for a static program or a missing library."""
    interpreter = read_elf(program).interpreter
    if interpreter is None:
        raise NixadminError(f"{program} is not dynamically linked", "name a nix of the distribution")
    loader = Path(interpreter)
    libraries = resolve(loader, program)
    if libc := libraries.get("libc.so.6"):
        modules = [libc.parent / f"libnss_{service}.so.2" for service in _NAME_SERVICES]
        for module in filter(Path.exists, modules):
            libraries |= {module.name: module} | resolve(loader, module)
    return Needs(loader, dict(sorted(libraries.items())))


def resolve(loader: Path, file: Path, *search: Path) -> dict[str, Path]:
    """What `loader` would load for a program or library, `search` before its usual places (ld.so(8), --list).

    Raises NixadminError for a library that is not there.
    """
    options = ("--inhibit-cache", "--library-path", ":".join(map(str, search))) if search else ()
    found: dict[str, Path] = {}
    for line in processes.run([loader, *options, "--list", file]).out.splitlines():
        match = re.fullmatch(r"\s*(\S+) => (.+?)(?: \(0x[0-9a-f]+\))?", line)
        if match and not match[2].startswith("/"):
            raise NixadminError(f"{file} needs {match[1]}, which is not on this host", "install it again")
        if match and Path(match[1]).name != loader.name:
            found[Path(match[1]).name] = Path(match[2])
    return found
