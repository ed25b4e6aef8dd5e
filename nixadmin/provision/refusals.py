"""What forbids an installation on this host, found out before the first step."""

import os
from collections.abc import Iterator
from pathlib import Path

from nixadmin.errors import NixadminError
from nixadmin.host import Host
from nixadmin.host.platform import distribution, place, selinux_enforces

NIX = Path("/nix")
# File systems that keep no owners, modes or links, which every store needs.
_UNFIT = frozenset({"vfat", "msdos", "exfat", "ntfs", "ntfs3", "fuseblk", "drvfs"})
# Room for the database, logs and a first build, beside what is unpacked.
_ROOM = 50 * 2**20
_INODES = 2000


def refusals(host: Host, unpacked_size: int) -> Iterator[NixadminError]:
    """Every reason not to begin. `unpacked_size` is what will be added to the store, in bytes."""
    if os.geteuid() != 0:
        yield NixadminError("provision changes the whole host, and you are not root", "run it with sudo, or as root")
    if distribution(host).get("ID") == "nixos" or host.files.inode(Path("/etc/NIXOS")):
        yield NixadminError(
            "this is NixOS, which provisions Nix itself", "set nix.* options in configuration.nix instead"
        )
    if not host.is_stand_in:
        yield from _platform()
    yield from _file_system(host, unpacked_size)


def _platform() -> Iterator[NixadminError]:
    if selinux_enforces():
        yield NixadminError(
            "SELinux is enforcing, and has no policy that lets init start a daemon from /nix",
            "nixadmin brings none yet: load one that labels /nix (semodule -l | grep nix) and set the domain "
            "permissive, or run setenforce 0 for as long as you need Nix",
        )
    if "-Microsoft" in os.uname().release:
        yield NixadminError("this is WSL 1, whose kernel cannot sandbox builds", "wsl --set-version DISTRO 2")


def _file_system(host: Host, unpacked_size: int) -> Iterator[NixadminError]:
    for path in (NIX, NIX / "store"):
        inode = host.files.inode(path)
        if inode is not None and inode.kind == "link":
            yield NixadminError(
                f"{path} is a link to {inode.target}, and Nix refuses a store behind a link",
                f"mount it there instead: rm {path}; mkdir {path}; mount --bind {inode.target} {path} (and fstab)",
            )
            return
    where = place(host, NIX / "store")
    if where.type in _UNFIT:
        yield NixadminError(
            f"{where.mount_point} is {where.type}, which keeps no owners and modes",
            f"put a file system such as ext4, xfs or btrfs at {NIX}",
        )
    if where.no_exec:
        yield NixadminError(
            f"{where.mount_point} is mounted noexec, so nothing in the store could run",
            f"mount -o remount,exec {where.mount_point}, and take noexec out of fstab",
        )
    if where.read_only:
        yield NixadminError(
            f"{where.mount_point} is mounted read-only",
            f"mount -o remount,rw {where.mount_point}, or mount {NIX} apart",
        )
    needed = unpacked_size + _ROOM
    if where.free < needed:
        yield NixadminError(
            f"{where.mount_point} has {where.free // 2**20} MiB free, and {needed // 2**20} MiB are needed",
            f"free some space, or mount a larger file system at {NIX}",
        )
    if where.free_inodes is not None and where.free_inodes < _INODES:
        yield NixadminError(
            f"{where.mount_point} has {where.free_inodes} inodes free, and {_INODES} are needed",
            f"remove some files, or mount a file system with more inodes at {NIX}",
        )
