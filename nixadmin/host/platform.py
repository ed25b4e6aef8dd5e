"""What kind of machine the host is: its system, its distribution, its mounts, its security module."""

import os
from dataclasses import dataclass
from pathlib import Path

from nixadmin.host import Host


@dataclass(frozen=True, slots=True)
class Place:
    """The file system on which a path lies, or would lie. Sizes are in bytes."""

    mount_point: Path
    type: str
    read_only: bool
    no_exec: bool
    free: int
    free_inodes: int | None


def system() -> str:
    """The name that Nix has for this machine, such as `x86_64-linux`."""
    machine = os.uname().machine
    return f"{ {'i386': 'i686', 'i586': 'i686', 'armv8l': 'armv7l'}.get(machine, machine) }-linux"


def distribution(host: Host) -> dict[str, str]:
    """The assignments of os-release(5), unquoted; empty where the host does not say what it is."""
    for path in (Path("/etc/os-release"), Path("/usr/lib/os-release")):
        try:
            text = host.files.read(path).decode(errors="replace")
        except OSError:
            continue
        pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
        return {name.strip(): value.strip().strip("\"'") for name, value in pairs}
    return {}


def selinux_enforces() -> bool:
    """Whether SELinux is there and refuses what its policy does not allow."""
    try:
        return Path("/sys/fs/selinux/enforce").read_text().strip() == "1"
    except OSError:
        return False


def place(host: Host, path: Path) -> Place:
    """Where `path` lies; if it does not exist yet, where it would be made."""
    real = host.at(path)
    while not real.exists():
        real = real.parent
    status = os.statvfs(real)
    mount_point, kind = _mount(real.resolve())
    return Place(
        mount_point=mount_point,
        type=kind,
        read_only=bool(status.f_flag & os.ST_RDONLY),
        no_exec=bool(status.f_flag & os.ST_NOEXEC),
        free=status.f_bavail * status.f_frsize,
        # A file system that makes inodes as it needs them (btrfs) says that it has none at all.
        free_inodes=status.f_favail if status.f_files else None,
    )


def _mount(path: Path) -> tuple[Path, str]:
    """The mount point above a path and its file system's type, from proc(5)'s mountinfo."""
    best, kind = Path("/"), "unknown"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        # The kernel writes white space and backslashes in octal.
        point = Path(left.split(" ")[4].encode().decode("unicode_escape"))
        if path.is_relative_to(point) and len(point.parts) >= len(best.parts):
            best, kind = point, right.split(" ")[0]
    return best, kind
