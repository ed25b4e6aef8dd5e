"""The distribution's package managers: one row each, and the few questions that nixadmin asks them."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from nixadmin.host import Host
from nixadmin.host.processes import PATH


@dataclass(frozen=True, slots=True)
class Manager:
    """A package manager: its words for what nixadmin needs, each a command that package names are added to.

    `nix` and `shells` name the packages that hold Nix and, first wish first, a static shell.
    `removal` refuses when another package needs what it is to remove.
    """

    name: str
    nix: tuple[str, ...]
    shells: tuple[str, ...]
    query: tuple[str, ...]
    refresh: tuple[str, ...]
    install: tuple[str, ...]
    removal: tuple[str, ...]
    # Tells what an installation would bring, and the pattern of a line that names one package and its version.
    simulate: tuple[str, ...] = ()
    arrival: str = ""


_APT = ("apt-get", "--quiet", "--assume-yes", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0")
_MANAGERS = (
    Manager(
        "apt-get",
        nix=("nix-bin",),
        shells=("bash-static", "busybox-static"),
        query=("dpkg-query", "--show", "--showformat", "${Package}\t${db:Status-Status}\n"),
        refresh=("apt-get", "--quiet", "update"),
        install=(*_APT, "install"),
        removal=("dpkg", "--purge"),
        simulate=(*_APT, "--simulate", "install"),
        arrival=r"^Inst (\S+) .*?\((\S+) ",
    ),
    Manager(
        "apk",
        nix=("nix",),
        shells=("busybox-static",),
        query=("apk", "info", "--installed"),
        refresh=("apk", "update"),
        install=("apk", "add"),
        removal=("apk", "del"),
        simulate=("apk", "add", "--simulate"),
        arrival=r"Installing (\S+) \((\S+)\)",
    ),
    Manager(
        "dnf",
        nix=("nix",),
        shells=("busybox",),
        query=("rpm", "--query", "--queryformat", "%{NAME}\n"),
        refresh=("dnf", "--quiet", "makecache"),
        install=("dnf", "--assumeyes", "--setopt=install_weak_deps=False", "install"),
        removal=("rpm", "--erase"),
    ),
    Manager(
        "pacman",
        nix=("nix",),
        shells=("busybox",),
        query=("pacman", "--query", "--quiet"),
        refresh=("pacman", "--sync", "--refresh"),
        install=("pacman", "--sync", "--noconfirm", "--needed"),
        removal=("pacman", "--remove", "--noconfirm", "--nosave"),
        simulate=("pacman", "--sync", "--print", "--print-format", "Inst %n %v"),
        arrival=r"^Inst (\S+) (\S+)",
    ),
    Manager(
        "xbps-install",
        nix=("nix",),
        shells=("busybox-static",),
        query=("xbps-query", "--property", "pkgname"),
        refresh=("xbps-install", "--sync"),
        install=("xbps-install", "--yes"),
        removal=("xbps-remove", "--yes"),
        simulate=("xbps-install", "--dry-run"),
        arrival=r"^(\S+)-([^-\s]+) install",
    ),
    Manager(
        "zypper",
        nix=("nix",),
        shells=("busybox-static",),
        query=("rpm", "--query", "--queryformat", "%{NAME}\n"),
        refresh=("zypper", "--quiet", "refresh"),
        install=("zypper", "--non-interactive", "install", "--no-recommends"),
        removal=("rpm", "--erase"),
    ),
)


def named(name: str) -> Manager:
    """The row of that name."""
    return next(manager for manager in _MANAGERS if manager.name == name)


def detect(host: Host) -> Manager | None:
    """The package manager of this host; a stand-in has none."""
    if host.is_stand_in:
        return None
    return next((manager for manager in _MANAGERS if shutil.which(manager.name, path=PATH)), None)


def installed(host: Host, manager: Manager, names: Sequence[str]) -> tuple[str, ...]:
    """Those of the names that are installed, in the order given."""
    if not names:
        return ()
    if manager.name in ("apt-get", "apk", "dnf", "zypper", "pacman"):
        said = host.run([*manager.query, *names], ok=range(256)).out
        return tuple(name for name in names if re.search(_present(manager, name), said, re.MULTILINE))
    return tuple(name for name in names if host.run([*manager.query, name], ok=range(256)).code == 0)


def _present(manager: Manager, name: str) -> str:
    status = "\tinstalled" if manager.name == "apt-get" else ""
    version = r"(-\d\S*)?" if manager.name == "apk" else ""
    return rf"^{re.escape(name)}{version}{status}$"


def arrivals(host: Host, manager: Manager, names: Sequence[str]) -> dict[str, str] | None:
    """What installing these would bring, with what they need: version by name; None when nobody knows.

    A manager that cannot tell beforehand, or has no list of packages yet, does not know.
    """
    if not manager.simulate:
        return None
    said = host.run([*manager.simulate, *names], ok=range(256))
    if said.code:
        return None
    return dict(re.findall(manager.arrival, said.out, re.MULTILINE))


def install(host: Host, manager: Manager, names: Sequence[str]) -> None:
    """Install packages; raises NixadminError with what the manager says when it cannot."""
    host.run([*manager.install, *names], env={"DEBIAN_FRONTEND": "noninteractive"})


def remove(host: Host, manager: Manager, names: Sequence[str]) -> None:
    """Remove packages and their configuration; raises NixadminError when something else needs them."""
    host.run([*manager.removal, *names], env={"DEBIAN_FRONTEND": "noninteractive"})
